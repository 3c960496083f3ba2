#include "codecs.h"

#include "job.h"
#include "column-convert.h"
#include "float-format.h"
#include "float-parse.h"
#include "vector-text.h"

namespace elanus::codecs {
namespace {

[[noreturn]] void Throw(Napi::Env env, const ValueError& error) {
  Napi::Error thrown = MakeError(env, error.sql_state, error.message);
  if (!error.detail.empty()) thrown.Set("detail", error.detail);
  throw thrown;
}

/** Runs what writes rows; NativeError becomes an Error with its code. */
template <class Write>
Napi::Value Written(Napi::Env env, Write write) {
  Bytes out;
  try {
    write(&out);
  } catch (const NativeError& error) {
    throw MakeError(env, error.sql_state(), error.what());
  } catch (const std::bad_alloc&) {
    throw MakeError(env, "53200", "out of memory");
  }
  return ToUint8Array(env, &out);
}

Napi::Value ParseVectorText(const Napi::CallbackInfo& info) {
  const CopyInput input = ReadInput(info[0]);
  const int dimensions = info[1].IsNumber() ? info[1].As<Napi::Number>().Int32Value() : -1;
  const char* begin = reinterpret_cast<const char*>(input.data);
  // Fewer floats than half the characters: a hostile text cannot make us allocate more than it is worth.
  size_t capacity = dimensions > 0 ? dimensions : input.size / 2 + 1;
  if (capacity > kVectorDimensionsMax) capacity = kVectorDimensionsMax;
  auto values = Napi::Float32Array::New(info.Env(), capacity);
  ValueError error;
  if (dimensions > kVectorDimensionsMax) Throw(info.Env(), {"XX000", "dimensions out of range", {}});
  const int count = ParseVector(begin, begin + input.size, dimensions > 0 ? dimensions : -1, values.Data(), &error);
  if (count < 0) Throw(info.Env(), error);
  if (static_cast<size_t>(count) == capacity) return values;
  auto exact = Napi::Float32Array::New(info.Env(), count);
  std::memcpy(exact.Data(), values.Data(), 4 * static_cast<size_t>(count));
  return exact;
}

/** text, from, to, dimensions, values, at: so many floats into a column that is being made. */
Napi::Value ParseVectorInto(const Napi::CallbackInfo& info) {
  const CopyInput input = ReadInput(info[0]);
  if (!info[4].IsTypedArray() || info[4].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(info.Env(), "values: Float32Array expected");
  }
  auto values = info[4].As<Napi::Float32Array>();
  const auto number = [&](size_t i) { return info[i].IsNumber() ? info[i].As<Napi::Number>().Int64Value() : -1; };
  const int64_t from = number(1), to = number(2), dimensions = number(3), at = number(5);
  const auto room = static_cast<int64_t>(values.ElementLength());
  if (from < 0 || to < from || to > static_cast<int64_t>(input.size) || dimensions < 1 ||
      dimensions > static_cast<int64_t>(kVectorDimensionsMax) || at < 0 || at > room - dimensions) {
    throw Napi::RangeError::New(info.Env(), "parseVectorInto: out of range");
  }
  const char* begin = reinterpret_cast<const char*>(input.data);
  ValueError error;
  if (ParseVector(begin + from, begin + to, static_cast<int>(dimensions), values.Data() + at, &error) < 0) {
    Throw(info.Env(), error);
  }
  return info.Env().Undefined();
}

Napi::Value FormatVectorText(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(info.Env(), "values: Float32Array expected");
  }
  const auto values = info[0].As<Napi::Float32Array>();
  Bytes out;
  FormatVector(values.ElementLength() == 0 ? nullptr : values.Data(), values.ElementLength(), &out);
  return Napi::String::New(info.Env(), reinterpret_cast<const char*>(out.data()), out.size());
}

/** float4in, without the forms that only some C libraries read. */
Napi::Value ParseFloat4Text(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "text: string expected");
  const std::string text = info[0].As<Napi::String>().Utf8Value();
  ColumnSink sink;
  sink.kind = Kind::kFloat32;
  sink.type = Type::kFloat4;
  sink.Start();
  ValueError error{"22P02", "invalid input syntax for type real: \"" + text + "\"", {}};
  if (ParseValue(text.data(), text.data() + text.size(), {}, &sink, &error) != Outcome::kFine) {
    Throw(info.Env(), error);
  }
  float value;
  std::memcpy(&value, sink.values.data(), 4);
  return Napi::Number::New(info.Env(), value);
}

template <size_t Max, class Float, size_t (*Format)(Float, char*)>
Napi::Value FormatFloat(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw Napi::TypeError::New(info.Env(), "value: number expected");
  char text[Max];
  const size_t size = Format(static_cast<Float>(info[0].As<Napi::Number>().DoubleValue()), text);
  return Napi::String::New(info.Env(), text, size);
}

class CopyJob : public Job {
 public:
  CopyJob(const Napi::CallbackInfo& info) : pin_(info[0]) {
    input_ = ReadInput(info[0]);
    output_.columns = ReadSinks(info[1]);
  }
  Napi::Value Complete(Napi::Env env) override { return ToCopyBlock(env, &output_); }
  CopyInput* input() { return &input_; }

 protected:
  CopyInput input_;
  CopyOutput output_;

 private:
  Pin pin_;
};

class CopyBinaryJob final : public CopyJob {
 public:
  explicit CopyBinaryJob(const Napi::CallbackInfo& info) : CopyJob(info) {
    input_.final = info[2].IsBoolean() && info[2].As<Napi::Boolean>().Value();
  }
  void Run() override { ReadCopyBinary(input_, &output_); }
};

class CopyTextJob final : public CopyJob {
 public:
  explicit CopyTextJob(const Napi::CallbackInfo& info) : CopyJob(info), format_(ReadTextFormat(info[2])) {
    input_.final = info[3].IsBoolean() && info[3].As<Napi::Boolean>().Value();
  }
  void Run() override { ReadCopyText(input_, format_, &output_); }

 private:
  CopyTextFormat format_;
};

void ReadRowCountMax(const Napi::Value& options, CopyInput* input) {
  if (!options.IsObject()) return;
  const Napi::Value most = options.As<Napi::Object>().Get("rowCountMax");
  if (!most.IsNumber()) return;
  const double value = most.As<Napi::Number>().DoubleValue();
  if (value >= 0 && value < 9e15) input->row_count_max = static_cast<size_t>(value);
}

Napi::Value ParseCopyBinary(const Napi::CallbackInfo& info) {
  return Submit(info.Env(), std::make_unique<CopyBinaryJob>(info));
}

Napi::Value ParseCopyText(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<CopyTextJob>(info);
  ReadRowCountMax(info[2], job->input());
  return Submit(info.Env(), std::move(job));
}

Napi::Value EncodeCopyBinary(const Napi::CallbackInfo& info) {
  const RowSet rows = ReadRowSet(info[0], info[1], info[2]);
  return Written(info.Env(), [&](Bytes* out) { WriteCopyBinary(rows, out); });
}

Napi::Value EncodeDataRows(const Napi::CallbackInfo& info) {
  const RowSet rows = ReadRowSet(info[0], info[1], info[2]);
  return Written(info.Env(), [&](Bytes* out) { WriteDataRows(rows, out); });
}

Napi::Value EncodeCopyText(const Napi::CallbackInfo& info) {
  const RowSet rows = ReadRowSet(info[0], info[1], info[3]);
  const CopyTextFormat format = ReadTextFormat(info[2]);
  return Written(info.Env(), [&](Bytes* out) { WriteCopyText(rows, format, out); });
}

Napi::Value FormatsText(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "typeName: string expected");
  return Napi::Boolean::New(info.Env(), HasTextOutput(TypeOf(info[0].As<Napi::String>().Utf8Value())));
}

}  // namespace
}  // namespace elanus::codecs

namespace elanus {

void InitCodecs(Napi::Env env, Napi::Object exports) {
  using namespace codecs;
  const auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("parseVector", ParseVectorText);
  add("parseVectorInto", ParseVectorInto);
  add("formatVector", FormatVectorText);
  add("parseFloat4", ParseFloat4Text);
  add("formatFloat4", FormatFloat<kFloat4TextMax, float, FormatFloat4>);
  add("formatFloat8", FormatFloat<kFloat8TextMax, double, FormatFloat8>);
  add("parseCopyBinary", ParseCopyBinary);
  add("parseCopyText", ParseCopyText);
  add("encodeCopyBinary", EncodeCopyBinary);
  add("encodeDataRows", EncodeDataRows);
  add("encodeCopyText", EncodeCopyText);
  add("formatsText", FormatsText);
}

}  // namespace elanus
