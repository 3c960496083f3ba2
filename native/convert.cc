#include "convert.h"

#include <cmath>

namespace elanus {
namespace {

[[noreturn]] void Wrong(Napi::Env env, const char* what, const char* wanted) {
  throw Napi::TypeError::New(env, std::string(what) + " must be " + wanted);
}

size_t ElementSize(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    default:
      return 8;
  }
}

}  // namespace

ArrayView ViewOf(Napi::Value value, const char* what) {
  ArrayView view;
  napi_value buffer;
  size_t offset;
  if (value.IsEmpty() ||
      napi_get_typedarray_info(value.Env(), value, &view.type, &view.length, &view.data, &buffer, &offset) != napi_ok) {
    Wrong(value.Env(), what, "a typed array");
  }
  view.bytes = view.length * ElementSize(view.type);
  return view;
}

ArrayView ViewOf(Napi::Value value, napi_typedarray_type type, const char* what) {
  ArrayView view = ViewOf(value, what);
  if (view.type != type) Wrong(value.Env(), what, "a typed array of its column's kind");
  return view;
}

Napi::Value Get(Napi::Object object, const char* name) {
  napi_value value;
  if (napi_get_named_property(object.Env(), object, name, &value) != napi_ok) throw Napi::Error::New(object.Env());
  return Napi::Value(object.Env(), value);
}

bool IsMissing(Napi::Value value) { return value.IsEmpty() || value.IsUndefined() || value.IsNull(); }

Napi::Object ObjectOf(Napi::Value value, const char* what) {
  if (!value.IsObject()) Wrong(value.Env(), what, "an object");
  return value.As<Napi::Object>();
}

double NumberOf(Napi::Value value, const char* what) {
  double number;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok) Wrong(value.Env(), what, "a number");
  return number;
}

int64_t IntegerOf(Napi::Value value, int64_t low, int64_t high, const char* what) {
  double number = NumberOf(value, what);
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || number != std::floor(number)) {
    throw Napi::RangeError::New(value.Env(), std::string(what) + " is out of range");
  }
  return static_cast<int64_t>(number);
}

bool BooleanOf(Napi::Value value, const char* what) {
  if (!value.IsBoolean()) Wrong(value.Env(), what, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string StringOf(Napi::Value value, const char* what) {
  if (!value.IsString()) Wrong(value.Env(), what, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Metric MetricOf(Napi::Value value) {
  char text[16];
  size_t length = 0;
  if (napi_get_value_string_latin1(value.Env(), value, text, sizeof text, &length) == napi_ok) {
    std::string_view name(text, length);
    if (name == "cosine") return Metric::kCosine;
    if (name == "l2") return Metric::kL2;
    if (name == "inner") return Metric::kInner;
    if (name == "l1") return Metric::kL1;
  }
  Wrong(value.Env(), "metric", "l2, inner, cosine or l1");
}

const char* MetricName(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kInner:
      return "inner";
    case Metric::kCosine:
      return "cosine";
    case Metric::kL1:
      return "l1";
  }
  return "";
}

Kind KindOf(Napi::Value value) {
  static const std::pair<const char*, Kind> kKinds[] = {
      {"bool", Kind::kBool},       {"int16", Kind::kInt16},     {"int32", Kind::kInt32},
      {"int64", Kind::kInt64},     {"float32", Kind::kFloat32}, {"float64", Kind::kFloat64},
      {"fixed", Kind::kFixed},     {"vector", Kind::kVector},   {"bytes", Kind::kBytes}};
  std::string name = StringOf(value, "kind");
  for (auto& [text, kind] : kKinds) {
    if (name == text) return kind;
  }
  Wrong(value.Env(), "kind", "a column kind");
}

std::shared_ptr<const Column> ColumnOf(Napi::Value value) {
  Napi::Object object = ObjectOf(value, "column");
  auto column = std::make_shared<Column>();
  column->kind = KindOf(Get(object, "kind"));
  Napi::Value values = Get(object, "values");
  ArrayView view = ViewOf(values, "values");
  napi_typedarray_type wanted = napi_uint8_array;
  size_t element = 1;
  switch (column->kind) {
    case Kind::kBool:
    case Kind::kBytes:
      break;
    case Kind::kInt16:
      wanted = napi_int16_array;
      element = 2;
      break;
    case Kind::kInt32:
      wanted = napi_int32_array;
      element = 4;
      break;
    case Kind::kInt64:
      wanted = napi_bigint64_array;
      element = 8;
      break;
    case Kind::kFloat32:
      wanted = napi_float32_array;
      element = 4;
      break;
    case Kind::kFloat64:
      wanted = napi_float64_array;
      element = 8;
      break;
    case Kind::kFixed:
      column->width = static_cast<size_t>(IntegerOf(Get(object, "width"), 1, 1 << 20, "width"));
      element = column->width;
      break;
    case Kind::kVector:
      column->width = static_cast<size_t>(IntegerOf(Get(object, "dimensions"), 1, 1 << 20, "dimensions"));
      wanted = napi_float32_array;
      element = column->width * 4;
      break;
  }
  if (view.type != wanted) throw Napi::TypeError::New(value.Env(), "values are of another kind than the column");
  column->values = view.data;
  column->values_bytes = view.bytes;
  column->capacity = view.bytes / element;
  column->values_pin = Pin(values);
  if (column->kind == Kind::kBytes) {
    Napi::Value offsets = Get(object, "offsets");
    ArrayView o = ViewOf(offsets, napi_int32_array, "offsets");
    if (o.length < 1) throw Napi::RangeError::New(value.Env(), "offsets must have length + 1 entries");
    column->offsets = static_cast<const int32_t*>(o.data);
    column->capacity = o.length - 1;
    column->offsets_pin = Pin(offsets);
  }
  Napi::Value validity = Get(object, "validity");
  if (!IsMissing(validity)) {
    ArrayView v = ViewOf(validity, napi_uint8_array, "validity");
    column->validity = static_cast<const uint8_t*>(v.data);
    column->capacity = std::min(column->capacity, v.bytes * 8);
    column->validity_pin = Pin(validity);
  }
  return column;
}

ResultBuffer::ResultBuffer(Napi::Env env, size_t bytes) : env_(env) {
  void* data;
  if (napi_create_arraybuffer(env, bytes, &data, &buffer_) != napi_ok) throw NativeError("53200", "out of memory");
  data_ = static_cast<uint8_t*>(data);
}

void* ResultBuffer::Take(napi_typedarray_type type, size_t count, Napi::Value* array) {
  napi_value made;
  if (napi_create_typedarray(env_, type, count, buffer_, at_, &made) != napi_ok) throw Napi::Error::New(env_);
  *array = Napi::Value(env_, made);
  void* data = data_ + at_;
  at_ += count * ElementSize(type);
  return data;
}

}  // namespace elanus
