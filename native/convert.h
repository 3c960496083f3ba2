// JavaScript values to ours: every check of what JavaScript hands in is here.
#pragma once
#include <napi.h>

#include <string>
#include <vector>

#include "kernels/pgvector.h"
#include "segment.h"

namespace elanus {

/** A typed array's memory, valid while the array is reachable. */
struct ArrayView {
  napi_typedarray_type type;
  size_t length = 0, bytes = 0;
  void* data = nullptr;
};
/** @throws TypeError unless `value` is a typed array (Buffer included). */
ArrayView ViewOf(Napi::Value value, const char* what);
ArrayView ViewOf(Napi::Value value, napi_typedarray_type type, const char* what);

Napi::Value Get(Napi::Object object, const char* name);
bool IsMissing(Napi::Value value);
Napi::Object ObjectOf(Napi::Value value, const char* what);
double NumberOf(Napi::Value value, const char* what);
/** An integer in [low, high]. */
int64_t IntegerOf(Napi::Value value, int64_t low, int64_t high, const char* what);
bool BooleanOf(Napi::Value value, const char* what);
std::string StringOf(Napi::Value value, const char* what);
Metric MetricOf(Napi::Value value);
const char* MetricName(Metric metric);
Kind KindOf(Napi::Value value);
std::shared_ptr<const Column> ColumnOf(Napi::Value value);

/** One ArrayBuffer that result arrays are views of: few allocations per search. */
class ResultBuffer {
 public:
  ResultBuffer(Napi::Env env, size_t bytes);
  /** Takes `count` elements; call in order of falling element size. */
  void* Take(napi_typedarray_type type, size_t count, Napi::Value* array);

 private:
  napi_env env_;
  napi_value buffer_;
  uint8_t* data_ = nullptr;
  size_t at_ = 0;
};

}  // namespace elanus
