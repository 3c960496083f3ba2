#include "column-convert.h"

namespace elanus::codecs {
namespace {

[[noreturn]] void Wrong(Napi::Env env, const std::string& what) { throw Napi::TypeError::New(env, what); }

std::string StringOf(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) Wrong(object.Env(), std::string(key) + ": string expected");
  return value.As<Napi::String>().Utf8Value();
}

char CharacterOf(const Napi::Object& object, const char* key, char otherwise) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) return otherwise;
  const std::string text = value.As<Napi::String>().Utf8Value();
  return text.size() == 1 ? text[0] : otherwise;
}

double NumberOf(const Napi::Object& object, const char* key, double otherwise) {
  const Napi::Value value = object.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : otherwise;
}

size_t SizeOf(const Napi::Object& object, const char* key, double most) {
  const double value = NumberOf(object, key, 0);
  if (!(value >= 0 && value <= most)) Wrong(object.Env(), std::string(key) + ": out of range");
  return static_cast<size_t>(value);
}

struct Memory {
  uint8_t* data = nullptr;
  size_t size = 0;
};

/** Any typed array's bytes. */
Memory MemoryOf(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsTypedArray()) Wrong(object.Env(), std::string(key) + ": typed array expected");
  const auto array = value.As<Napi::TypedArray>();
  if (array.ByteLength() == 0) return {};
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

constexpr double kRowCountMax = 4294967295.0;

/** Types whose parsers write numbers: never into a column of kind bytes. */
bool RestsAsNumber(Type type) {
  for (int kind = 0; kind < static_cast<int>(Kind::kVector); kind++) {
    if (Fits(type, static_cast<Kind>(kind))) return true;
  }
  return false;
}

ColumnView ReadView(const Napi::Object& object) {
  Napi::Env env = object.Env();
  ColumnView view;
  if (!KindOf(StringOf(object, "kind"), &view.kind)) Wrong(env, "kind: unknown");
  view.type = TypeOf(StringOf(object, "typeName"));
  view.format = NumberOf(object, "format", 1) == 0 ? 0 : 1;
  view.width = view.kind == Kind::kVector  ? SizeOf(object, "dimensions", 16000)
               : view.kind == Kind::kFixed ? SizeOf(object, "width", 65535)
                                           : 0;
  view.stride = StrideOf(view.kind, view.width);
  view.length = SizeOf(object, "length", kRowCountMax);
  if (!Fits(view.type, view.kind) && view.type != Type::kOther) Wrong(env, "typeName: does not fit the column's kind");
  const Memory values = MemoryOf(object, "values");
  view.values = values.data;
  view.value_bytes = values.size;
  if (view.length > 0 && values.size < view.length * view.stride) Wrong(env, "values: shorter than the column");
  if (view.kind == Kind::kBytes) {
    const Memory offsets = MemoryOf(object, "offsets");
    if (offsets.size < 4 * (view.length + 1)) Wrong(env, "offsets: shorter than the column");
    view.offsets = reinterpret_cast<const int32_t*>(offsets.data);
  }
  const Napi::Value validity = object.Get("validity");
  if (!validity.IsUndefined() && !validity.IsNull()) {
    const Memory bits = MemoryOf(object, "validity");
    if (bits.size < (view.length + 7) / 8) Wrong(env, "validity: shorter than the column");
    view.validity = bits.data;
  }
  return view;
}

Napi::ArrayBuffer ToArrayBuffer(Napi::Env env, Bytes* bytes, size_t* size) {
  *size = bytes->size();
  // Small ones are copied: a finalizer costs more than the bytes.
  if (*size < 4096) {
    auto buffer = Napi::ArrayBuffer::New(env, *size);
    if (*size > 0) std::memcpy(buffer.Data(), bytes->data(), *size);
    return buffer;
  }
  return Napi::ArrayBuffer::New(env, bytes->Release(), *size, [](Napi::Env, void* data) { std::free(data); });
}

Napi::Value ToValues(Napi::Env env, ColumnSink* sink) {
  size_t size;
  auto buffer = ToArrayBuffer(env, &sink->values, &size);
  switch (sink->kind) {
    case Kind::kBool:
    case Kind::kFixed:
    case Kind::kBytes:
      return Napi::Uint8Array::New(env, size, buffer, 0);
    case Kind::kInt16:
      return Napi::Int16Array::New(env, size / 2, buffer, 0);
    case Kind::kInt32:
      return Napi::Int32Array::New(env, size / 4, buffer, 0);
    case Kind::kInt64:
      return Napi::BigInt64Array::New(env, size / 8, buffer, 0);
    case Kind::kFloat32:
    case Kind::kVector:
      return Napi::Float32Array::New(env, size / 4, buffer, 0);
    case Kind::kFloat64:
      return Napi::Float64Array::New(env, size / 8, buffer, 0);
  }
  return env.Undefined();
}

}  // namespace

CopyInput ReadInput(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    Wrong(value.Env(), "input: Uint8Array expected");
  }
  const auto array = value.As<Napi::Uint8Array>();
  CopyInput input;
  input.size = array.ByteLength();
  // An empty array's buffer may have no address.
  input.data = input.size == 0 ? reinterpret_cast<const uint8_t*>("") : array.Data();
  return input;
}

std::vector<ColumnSink> ReadSinks(const Napi::Value& value) {
  if (!value.IsArray()) Wrong(value.Env(), "columns: array expected");
  const auto array = value.As<Napi::Array>();
  std::vector<ColumnSink> sinks;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value item = array.Get(i);
    if (!item.IsObject()) Wrong(value.Env(), "columns: object expected");
    const auto object = item.As<Napi::Object>();
    ColumnSink sink;
    if (!KindOf(StringOf(object, "kind"), &sink.kind)) Wrong(value.Env(), "kind: unknown");
    sink.type = TypeOf(StringOf(object, "typeName"));
    sink.typmod = static_cast<int>(NumberOf(object, "typmod", -1));
    sink.width = SizeOf(object, "width", 65535);
    if (sink.kind == Kind::kVector) {
      if (sink.width < 1 || sink.width > 16000) Wrong(value.Env(), "width: out of range");
      sink.typmod = static_cast<int>(sink.width);
    }
    if (sink.type == Type::kUuid && sink.kind == Kind::kFixed && sink.width != 16) Wrong(value.Env(), "width: 16 expected");
    if (!Fits(sink.type, sink.kind)) Wrong(value.Env(), "typeName: does not fit the column's kind");
    if (sink.kind == Kind::kBytes && RestsAsNumber(sink.type)) Wrong(value.Env(), "kind: bytes does not fit the type");
    const Napi::Value name = object.Get("name");
    if (name.IsString()) sink.name = name.As<Napi::String>().Utf8Value();
    sinks.push_back(std::move(sink));
  }
  return sinks;
}

CopyTextFormat ReadTextFormat(const Napi::Value& value) {
  if (!value.IsObject()) Wrong(value.Env(), "options: object expected");
  const auto object = value.As<Napi::Object>();
  CopyTextFormat format;
  format.csv = StringOf(object, "format") == "csv";
  format.delimiter = CharacterOf(object, "delimiter", format.csv ? ',' : '\t');
  format.quote = CharacterOf(object, "quote", '"');
  format.escape = CharacterOf(object, "escape", format.quote);
  format.null_string = StringOf(object, "nullString");
  const Napi::Value utc = object.Get("utc");
  format.settings.utc = utc.IsBoolean() && utc.As<Napi::Boolean>().Value();
  return format;
}

RowSet ReadRowSet(const Napi::Value& columns, const Napi::Value& row_count, const Napi::Value& rows) {
  Napi::Env env = columns.Env();
  if (!columns.IsArray()) Wrong(env, "columns: array expected");
  if (!row_count.IsNumber()) Wrong(env, "rowCount: number expected");
  const double count = row_count.As<Napi::Number>().DoubleValue();
  if (!(count >= 0 && count <= kRowCountMax)) Wrong(env, "rowCount: out of range");
  RowSet set;
  set.row_count = static_cast<size_t>(count);
  const auto array = columns.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value item = array.Get(i);
    if (!item.IsObject()) Wrong(env, "columns: object expected");
    set.columns.push_back(ReadView(item.As<Napi::Object>()));
    if (set.columns.back().length < set.row_count) Wrong(env, "rowCount: more than the column has");
  }
  if (set.columns.size() > 32767) Wrong(env, "columns: too many");
  if (rows.IsUndefined() || rows.IsNull()) return set;
  if (!rows.IsTypedArray() || rows.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    Wrong(env, "rows: Uint32Array expected");
  }
  const auto ordinals = rows.As<Napi::Uint32Array>();
  const size_t limit = set.row_count;
  set.row_count = ordinals.ElementLength();
  set.rows = set.row_count == 0 ? nullptr : ordinals.Data();
  for (size_t i = 0; i < set.row_count; i++) {
    if (set.rows[i] >= limit) Wrong(env, "rows: ordinal out of range");
  }
  return set;
}

Napi::Value ToUint8Array(Napi::Env env, Bytes* bytes) {
  size_t size;
  auto buffer = ToArrayBuffer(env, bytes, &size);
  return Napi::Uint8Array::New(env, size, buffer, 0);
}

Napi::Value ToColumn(Napi::Env env, ColumnSink* sink) {
  auto column = Napi::Object::New(env);
  column.Set("kind", NameOf(sink->kind));
  column.Set("length", static_cast<double>(sink->rows()));
  column.Set("values", ToValues(env, sink));
  if (sink->kind == Kind::kVector) column.Set("dimensions", static_cast<double>(sink->width));
  if (sink->kind == Kind::kFixed) column.Set("width", static_cast<double>(sink->width));
  size_t size;
  if (sink->kind == Kind::kBytes) {
    auto buffer = ToArrayBuffer(env, &sink->offsets, &size);
    column.Set("offsets", Napi::Int32Array::New(env, size / 4, buffer, 0));
  }
  if (sink->has_nulls()) {
    auto buffer = ToArrayBuffer(env, &sink->validity, &size);
    column.Set("validity", Napi::Uint8Array::New(env, size, buffer, 0));
  }
  return column;
}

Napi::Value ToCopyBlock(Napi::Env env, CopyOutput* output) {
  auto block = Napi::Object::New(env);
  auto columns = Napi::Array::New(env, output->columns.size());
  auto textual = Napi::Array::New(env, output->columns.size());
  auto unchecked = Napi::Array::New(env, output->columns.size());
  for (uint32_t i = 0; i < output->columns.size(); i++) {
    textual.Set(i, output->columns[i].textual);
    unchecked.Set(i, output->columns[i].unchecked);
    columns.Set(i, ToColumn(env, &output->columns[i]));
  }
  block.Set("rowCount", static_cast<double>(output->row_count));
  block.Set("columns", columns);
  block.Set("textual", textual);
  block.Set("unchecked", unchecked);
  block.Set("consumed", static_cast<double>(output->consumed));
  block.Set("lines", static_cast<double>(output->lines));
  block.Set("ended", output->ended);
  if (output->error.set) {
    const CopyError& error = output->error;
    auto object = Napi::Object::New(env);
    object.Set("row", static_cast<double>(error.row));
    object.Set("column", static_cast<double>(error.column));
    object.Set("sqlState", error.value.sql_state);
    object.Set("message", error.value.message);
    if (!error.value.detail.empty()) object.Set("detail", error.value.detail);
    if (!error.hint.empty()) object.Set("hint", error.hint);
    block.Set("error", object);
  }
  return block;
}

}  // namespace elanus::codecs
