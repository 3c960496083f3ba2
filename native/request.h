// The parts of a request that all calls share.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "convert.h"
#include "filter.h"
#include "job.h"
#include "segment.h"

namespace elanus {

struct RequestSegment {
  std::shared_ptr<const SegmentState> state;
  size_t rows = 0;
  const uint8_t* allowed = nullptr;
  Pin allowed_pin;
};

struct Request {
  std::vector<RequestSegment> segments;
  double read_at = 0;
  std::vector<uint8_t> program;  // empty: every row
};

void ReadRequest(Napi::Object object, Request* request);

inline Filter DecodeFilter(const Request& request) { return request.program.empty() ? Filter() : Filter(request.program); }

/** The column with at least `rows` rows. @throws NativeError XX000 */
const Column& ColumnFor(const RequestSegment& segment, int attnum);

Napi::Value Search(const Napi::CallbackInfo& info);
Napi::Value FilterRows(const Napi::CallbackInfo& info);
Napi::Value Top(const Napi::CallbackInfo& info);
Napi::Value Aggregate(const Napi::CallbackInfo& info);
Napi::Value BuildHnsw(const Napi::CallbackInfo& info);
Napi::Value LoadHnsw(const Napi::CallbackInfo& info);
Napi::Value Distance(const Napi::CallbackInfo& info);
Napi::Value MapFile(const Napi::CallbackInfo& info);
Napi::Value ReleasePages(const Napi::CallbackInfo& info);

}  // namespace elanus
