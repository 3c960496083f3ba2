// Columns as the native side sees them, and the segments that hold them.
//
// A SegmentState is frozen: setColumn and the like make the next one, so that a running search keeps what it began
// with. States (and the pins in them) are created and destroyed on the event loop's thread; jobs hold a state by
// shared_ptr and are destroyed there too.
#pragma once
#include <napi.h>

#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bits.h"
#include "hnsw/index.h"
#include "hnsw/interim.h"
#include "job.h"

namespace elanus {

enum class Kind : uint8_t { kBool, kInt16, kInt32, kInt64, kFloat32, kFloat64, kFixed, kVector, kBytes };

struct Column {
  Kind kind = Kind::kBool;
  size_t width = 0;  // fixed: bytes; vector: dimensions
  size_t capacity = 0;  // rows that the buffers can hold
  const void* values = nullptr;
  size_t values_bytes = 0;
  const int32_t* offsets = nullptr;
  const uint8_t* validity = nullptr;
  Pin values_pin, offsets_pin, validity_pin;

  template <class T>
  const T* As() const {
    return static_cast<const T*>(values);
  }
  const float* Vector(size_t row) const { return As<float>() + row * width; }
  bool Valid(size_t row) const { return !validity || TestByteBit(validity, row); }
  struct View {
    const uint8_t* data;
    size_t size;
  };
  /** bytes and fixed. Offsets that point outside read as empty. */
  View Bytes(size_t row) const {
    auto* base = static_cast<const uint8_t*>(values);
    if (kind == Kind::kFixed) return {base + row * width, width};
    int64_t begin = offsets[row], end = offsets[row + 1];
    if (begin < 0 || end < begin || static_cast<size_t>(end) > values_bytes) return {base, 0};
    return {base + begin, static_cast<size_t>(end - begin)};
  }
};

/** Timestamps of rows; stable ones are summed up once, so that most reads need not look at them. */
class Timestamps {
 public:
  const double* inserted = nullptr;
  const double* deleted = nullptr;
  size_t capacity = 0;
  /** Nothing below a searched rowCount changes in place. */
  bool stable = false;
  Pin inserted_pin, deleted_pin;
  /** Stable and every row of the first `rows` is visible at `at`. Looks at each row once, however often it is asked. */
  bool AllVisible(size_t rows, double at) const;
  bool Visible(size_t row, double at) const { return inserted[row] <= at && at < deleted[row]; }

 private:
  mutable std::mutex mutex_;
  mutable size_t seen_ = 0;
  mutable double last_inserted_ = -std::numeric_limits<double>::infinity();
  mutable double first_deleted_ = std::numeric_limits<double>::infinity();
};

/** Bitsets of recent filters over a segment's columns: filters come back. Thread-safe. */
class FilterCache {
 public:
  struct Entry {
    std::vector<uint8_t> program;
    size_t rows;
    Bitset bits;
    size_t count;
  };
  std::shared_ptr<const Entry> Find(const std::vector<uint8_t>& program, size_t rows);
  void Put(std::shared_ptr<const Entry> entry);

 private:
  std::mutex mutex_;
  std::shared_ptr<const Entry> entries_[8];
  size_t next_ = 0;
};

struct IndexSlot {
  int attnum;
  uint32_t oid;
  std::shared_ptr<const HnswIndex> index;
};

struct InterimSlot {
  int attnum;
  uint32_t oid;
  std::shared_ptr<const InterimIndex> index;
};

struct SegmentState {
  std::vector<std::pair<int, std::shared_ptr<const Column>>> columns;
  std::shared_ptr<const Timestamps> timestamps;
  std::vector<IndexSlot> indexes;
  std::vector<InterimSlot> interims;
  std::shared_ptr<FilterCache> cache;

  const Column* Find(int attnum) const {
    for (auto& [number, column] : columns) {
      if (number == attnum) return column.get();
    }
    return nullptr;
  }
};

/** The JavaScript object NativeSegment. */
class SegmentObject : public Napi::ObjectWrap<SegmentObject> {
 public:
  static void Init(Napi::Env env);
  explicit SegmentObject(const Napi::CallbackInfo& info);
  /** @throws when `value` is no segment or a closed one. */
  static std::shared_ptr<const SegmentState> StateOf(Napi::Value value);

 private:
  Napi::Value SetColumn(const Napi::CallbackInfo& info);
  Napi::Value SetTimestamps(const Napi::CallbackInfo& info);
  Napi::Value SetIndex(const Napi::CallbackInfo& info);
  Napi::Value SetInterim(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  std::shared_ptr<SegmentState> Next(Napi::Env env) const;
  std::shared_ptr<const SegmentState> state_;
};

/** The JavaScript object NativeIndex. */
class IndexObject : public Napi::ObjectWrap<IndexObject> {
 public:
  static void Init(Napi::Env env);
  static Napi::Object New(Napi::Env env, std::shared_ptr<const HnswIndex> index);
  explicit IndexObject(const Napi::CallbackInfo& info);
  static std::shared_ptr<const HnswIndex> IndexOf(Napi::Value value);

 private:
  std::shared_ptr<const HnswIndex> Open(Napi::Env env) const;
  Napi::Value Save(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value RowCount(const Napi::CallbackInfo& info);
  Napi::Value MetricName(const Napi::CallbackInfo& info);
  Napi::Value MemoryBytes(const Napi::CallbackInfo& info);
  std::shared_ptr<const HnswIndex> index_;
};

/** The JavaScript object NativeInterimIndex. */
class InterimObject : public Napi::ObjectWrap<InterimObject> {
 public:
  static void Init(Napi::Env env);
  static Napi::Value Create(const Napi::CallbackInfo& info);
  explicit InterimObject(const Napi::CallbackInfo& info);
  static std::shared_ptr<const InterimIndex> IndexOf(Napi::Value value);

 private:
  Napi::Value Extend(const Napi::CallbackInfo& info);
  Napi::Value Copy(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value RowCount(const Napi::CallbackInfo& info);
  Napi::Value MemoryBytes(const Napi::CallbackInfo& info);
  std::shared_ptr<InterimIndex> Open(Napi::Env env) const;
  std::shared_ptr<InterimIndex> index_;
  /** Extend and Copy take turns: one at a time. */
  std::shared_ptr<std::atomic<bool>> busy_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::atomic<bool>> closed_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace elanus
