#include "request.h"

namespace elanus {

void ReadRequest(Napi::Object object, Request* request) {
  Napi::Env env = object.Env();
  Napi::Value list = Get(object, "segments");
  if (!list.IsArray()) throw Napi::TypeError::New(env, "segments must be an array");
  uint32_t count = list.As<Napi::Array>().Length();
  request->segments.resize(count);
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, list, i, &element);
    Napi::Object part = ObjectOf(Napi::Value(env, element), "segment");
    RequestSegment& segment = request->segments[i];
    segment.state = SegmentObject::StateOf(Get(part, "segment"));
    segment.rows = static_cast<size_t>(IntegerOf(Get(part, "rowCount"), 0, 0x7ffffffe, "rowCount"));
    if (segment.state->timestamps && segment.state->timestamps->capacity < segment.rows) {
      throw Napi::RangeError::New(env, "rowCount is beyond the timestamps");
    }
    Napi::Value allowed = Get(part, "allowed");
    if (!IsMissing(allowed)) {
      ArrayView view = ViewOf(allowed, napi_uint8_array, "allowed");
      if (view.bytes < (segment.rows + 7) / 8) throw Napi::RangeError::New(env, "allowed is shorter than rowCount");
      segment.allowed = static_cast<const uint8_t*>(view.data);
      segment.allowed_pin = Pin(allowed);
    }
  }
  request->read_at = NumberOf(Get(object, "readAt"), "readAt");
  Napi::Value filter = Get(object, "filter");
  if (!IsMissing(filter)) {
    ArrayView view = ViewOf(filter, napi_uint8_array, "filter");
    auto* bytes = static_cast<const uint8_t*>(view.data);
    request->program.assign(bytes, bytes + view.bytes);
    if (request->program.empty()) throw NativeError("XX000", "malformed filter program");
  }
}

const Column& ColumnFor(const RequestSegment& segment, int attnum) {
  const Column* column = segment.state->Find(attnum);
  if (!column) throw NativeError("XX000", "segment has no column " + std::to_string(attnum));
  if (column->capacity < segment.rows) throw NativeError("XX000", "column " + std::to_string(attnum) + " is too short");
  return *column;
}

}  // namespace elanus
