#include "segment.h"

#include <algorithm>

#include "convert.h"

namespace elanus {
namespace {

// Any 128 bits that are nobody else's: napi_unwrap alone would accept any wrapped object.
constexpr napi_type_tag kSegmentTag = {0x5e67e4700a1b2c3d, 0xe1a4050000000001};
constexpr napi_type_tag kIndexTag = {0x5e67e4700a1b2c3d, 0xe1a4050000000002};

template <class T>
T* UnwrapTagged(Napi::Value value, const napi_type_tag& tag, const char* what) {
  bool same = false;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &tag, &same) != napi_ok || !same) {
    throw Napi::TypeError::New(value.Env(), std::string("not a native ") + what);
  }
  return T::Unwrap(value.As<Napi::Object>());
}

class SaveJob final : public Job {
 public:
  SaveJob(std::shared_ptr<const HnswIndex> index, std::string path) : index_(std::move(index)), path_(std::move(path)) {}
  void Run() override { index_->Save(path_); }
  Napi::Value Complete(Napi::Env env) override { return env.Undefined(); }

 private:
  std::shared_ptr<const HnswIndex> index_;
  std::string path_;
};

}  // namespace

bool Timestamps::AllVisible(size_t rows, double at) const {
  if (!stable) return false;
  std::lock_guard lock(mutex_);
  for (; seen_ < rows; seen_++) {
    last_inserted_ = std::max(last_inserted_, inserted[seen_]);
    first_deleted_ = std::min(first_deleted_, deleted[seen_]);
  }
  return last_inserted_ <= at && at < first_deleted_;
}

std::shared_ptr<const FilterCache::Entry> FilterCache::Find(const std::vector<uint8_t>& program, size_t rows) {
  std::lock_guard lock(mutex_);
  for (auto& entry : entries_) {
    if (entry && entry->rows == rows && entry->program == program) return entry;
  }
  return nullptr;
}

void FilterCache::Put(std::shared_ptr<const Entry> entry) {
  std::lock_guard lock(mutex_);
  entries_[next_++ % std::size(entries_)] = std::move(entry);
}

void SegmentObject::Init(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "NativeSegment",
                                           {InstanceMethod<&SegmentObject::SetColumn>("setColumn"),
                                            InstanceMethod<&SegmentObject::SetTimestamps>("setTimestamps"),
                                            InstanceMethod<&SegmentObject::SetIndex>("setIndex"),
                                            InstanceMethod<&SegmentObject::SetInterim>("setInterim"),
                                            InstanceMethod<&SegmentObject::Close>("close")});
  EnvState::Get(env)->segment_constructor = Napi::Persistent(constructor);
}

SegmentObject::SegmentObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SegmentObject>(info) {
  napi_type_tag_object(info.Env(), info.This(), &kSegmentTag);
  auto state = std::make_shared<SegmentState>();
  state->cache = std::make_shared<FilterCache>();
  state_ = std::move(state);
}

std::shared_ptr<const SegmentState> SegmentObject::StateOf(Napi::Value value) {
  auto* self = UnwrapTagged<SegmentObject>(value, kSegmentTag, "segment");
  if (!self->state_) throw Napi::Error::New(value.Env(), "segment is closed");
  return self->state_;
}

std::shared_ptr<SegmentState> SegmentObject::Next(Napi::Env env) const {
  if (!state_) throw Napi::Error::New(env, "segment is closed");
  return std::make_shared<SegmentState>(*state_);
}

Napi::Value SegmentObject::SetColumn(const Napi::CallbackInfo& info) {
  auto next = Next(info.Env());
  int attnum = static_cast<int>(IntegerOf(info[0], -32768, 32767, "attnum"));
  auto column = ColumnOf(info[1]);
  auto at = std::find_if(next->columns.begin(), next->columns.end(), [&](auto& c) { return c.first == attnum; });
  if (at == next->columns.end()) {
    next->columns.emplace_back(attnum, std::move(column));
  } else {
    at->second = std::move(column);
  }
  next->cache = std::make_shared<FilterCache>();
  state_ = std::move(next);
  return info.Env().Undefined();
}

Napi::Value SegmentObject::SetTimestamps(const Napi::CallbackInfo& info) {
  auto next = Next(info.Env());
  auto timestamps = std::make_shared<Timestamps>();
  ArrayView inserted = ViewOf(info[0], napi_float64_array, "inserted");
  ArrayView deleted = ViewOf(info[1], napi_float64_array, "deleted");
  timestamps->inserted = static_cast<const double*>(inserted.data);
  timestamps->deleted = static_cast<const double*>(deleted.data);
  timestamps->capacity = std::min(inserted.length, deleted.length);
  timestamps->stable = !IsMissing(info[2]) && BooleanOf(info[2], "stable");
  timestamps->inserted_pin = Pin(info[0]);
  timestamps->deleted_pin = Pin(info[1]);
  next->timestamps = std::move(timestamps);
  state_ = std::move(next);
  return info.Env().Undefined();
}

Napi::Value SegmentObject::SetIndex(const Napi::CallbackInfo& info) {
  auto next = Next(info.Env());
  int attnum = static_cast<int>(IntegerOf(info[0], -32768, 32767, "attnum"));
  auto oid = static_cast<uint32_t>(IntegerOf(info[1], 0, 0xffffffff, "indexOid"));
  auto& slots = next->indexes;
  slots.erase(std::remove_if(slots.begin(), slots.end(), [&](auto& s) { return s.attnum == attnum && s.oid == oid; }),
              slots.end());
  if (!IsMissing(info[2])) slots.push_back({attnum, oid, IndexObject::IndexOf(info[2])});
  state_ = std::move(next);
  return info.Env().Undefined();
}

Napi::Value SegmentObject::SetInterim(const Napi::CallbackInfo& info) {
  auto next = Next(info.Env());
  int attnum = static_cast<int>(IntegerOf(info[0], -32768, 32767, "attnum"));
  auto oid = static_cast<uint32_t>(IntegerOf(info[1], 0, 0xffffffff, "indexOid"));
  auto& slots = next->interims;
  slots.erase(std::remove_if(slots.begin(), slots.end(), [&](auto& s) { return s.attnum == attnum && s.oid == oid; }),
              slots.end());
  if (!IsMissing(info[2])) slots.push_back({attnum, oid, InterimObject::IndexOf(info[2])});
  state_ = std::move(next);
  return info.Env().Undefined();
}

Napi::Value SegmentObject::Close(const Napi::CallbackInfo& info) {
  state_.reset();
  return info.Env().Undefined();
}

void IndexObject::Init(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "NativeIndex",
                                           {InstanceAccessor<&IndexObject::RowCount>("rowCount"),
                                            InstanceAccessor<&IndexObject::MetricName>("metric"),
                                            InstanceAccessor<&IndexObject::MemoryBytes>("memoryBytes"),
                                            InstanceMethod<&IndexObject::Save>("save"),
                                            InstanceMethod<&IndexObject::Close>("close")});
  EnvState::Get(env)->index_constructor = Napi::Persistent(constructor);
}

IndexObject::IndexObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IndexObject>(info) {
  napi_type_tag_object(info.Env(), info.This(), &kIndexTag);
}

Napi::Object IndexObject::New(Napi::Env env, std::shared_ptr<const HnswIndex> index) {
  Napi::Object object = EnvState::Get(env)->index_constructor.New({});
  Unwrap(object)->index_ = std::move(index);
  return object;
}

std::shared_ptr<const HnswIndex> IndexObject::IndexOf(Napi::Value value) {
  return UnwrapTagged<IndexObject>(value, kIndexTag, "index")->Open(value.Env());
}

std::shared_ptr<const HnswIndex> IndexObject::Open(Napi::Env env) const {
  if (!index_) throw Napi::Error::New(env, "index is closed");
  return index_;
}

Napi::Value IndexObject::Save(const Napi::CallbackInfo& info) {
  return Submit(info.Env(), std::make_unique<SaveJob>(Open(info.Env()), StringOf(info[0], "path")));
}

Napi::Value IndexObject::Close(const Napi::CallbackInfo& info) {
  index_.reset();
  return info.Env().Undefined();
}

Napi::Value IndexObject::RowCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info.Env())->rows()));
}
Napi::Value IndexObject::MetricName(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), elanus::MetricName(Open(info.Env())->metric()));
}
Napi::Value IndexObject::MemoryBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info.Env())->memory()));
}

}  // namespace elanus
