// NativeInterimIndex: extending and copying run as low slices of the pool.
#include "convert.h"
#include "pool.h"
#include "segment.h"

namespace elanus {
namespace {

constexpr napi_type_tag kInterimTag = {0x5e67e4700a1b2c3d, 0xe1a4050000000003};

/** A job of its own slices; `step` returns true to be called again. */
class InterimJob : public Job {
 public:
  std::shared_ptr<InterimIndex> index;
  /** Pins the column that is read. */
  std::shared_ptr<const SegmentState> state;
  std::shared_ptr<std::atomic<bool>> busy, closed;
  std::weak_ptr<EnvState> env;
  std::shared_ptr<HnswIndex> copy;

  void Run() override {}
  Napi::Value Complete(Napi::Env env) override { return copy ? Napi::Value(IndexObject::New(env, copy)) : env.Undefined(); }
  ~InterimJob() override {
    if (busy) *busy = false;
  }
  bool Stopped() const {
    auto alive = env.lock();
    return !alive || alive->closing() || *closed;
  }
};

Napi::Promise Start(Napi::Env env, std::unique_ptr<InterimJob> owned, std::function<bool(InterimJob&)> step) {
  InterimJob* job = owned.get();
  Napi::Promise promise = Prepare(env, job);
  owned.release();
  Pool::Get().PostLow([job, step] {
    try {
      if (!job->Stopped() && step(*job)) return true;
    } catch (const NativeError& error) {
      FailJob(job, error.sql_state(), error.what());
      return false;
    } catch (const std::bad_alloc&) {
      FailJob(job, "53200", "out of memory");
      return false;
    } catch (const std::exception& error) {
      FailJob(job, "XX000", error.what());
      return false;
    }
    FinishJob(job);
    return false;
  });
  return promise;
}

}  // namespace

void InterimObject::Init(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "NativeInterimIndex",
                                           {InstanceAccessor<&InterimObject::RowCount>("rowCount"),
                                            InstanceAccessor<&InterimObject::MemoryBytes>("memoryBytes"),
                                            InstanceMethod<&InterimObject::Extend>("extend"),
                                            InstanceMethod<&InterimObject::Copy>("copy"),
                                            InstanceMethod<&InterimObject::Close>("close")});
  EnvState::Get(env)->interim_constructor = Napi::Persistent(constructor);
}

InterimObject::InterimObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<InterimObject>(info) {
  napi_type_tag_object(info.Env(), info.This(), &kInterimTag);
}

Napi::Value InterimObject::Create(const Napi::CallbackInfo& info) {
  Napi::Object options = ObjectOf(info[0], "options");
  InterimIndex::Options wanted{};
  wanted.dimensions = static_cast<size_t>(IntegerOf(elanus::Get(options, "dimensions"), 1, 1 << 16, "dimensions"));
  wanted.metric = MetricOf(elanus::Get(options, "metric"));
  wanted.m = static_cast<size_t>(IntegerOf(elanus::Get(options, "m"), 2, 512, "m"));
  wanted.ef_construction = static_cast<size_t>(IntegerOf(elanus::Get(options, "efConstruction"), 1, 100000, "efConstruction"));
  Napi::Object object = EnvState::Get(info.Env())->interim_constructor.New({});
  Unwrap(object)->index_ = std::make_shared<InterimIndex>(wanted);
  return object;
}

std::shared_ptr<InterimIndex> InterimObject::Open(Napi::Env env) const {
  if (!index_) throw Napi::Error::New(env, "interim index is closed");
  return index_;
}

std::shared_ptr<const InterimIndex> InterimObject::IndexOf(Napi::Value value) {
  bool same = false;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &kInterimTag, &same) != napi_ok || !same) {
    throw Napi::TypeError::New(value.Env(), "not a native interim index");
  }
  return Unwrap(value.As<Napi::Object>())->Open(value.Env());
}

Napi::Value InterimObject::Extend(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto job = std::make_unique<InterimJob>();
  job->index = Open(env);
  job->state = SegmentObject::StateOf(info[0]);
  int attnum = static_cast<int>(IntegerOf(info[1], -32768, 32767, "attnum"));
  auto rows = static_cast<size_t>(IntegerOf(info[2], 0, 0x7ffffffe, "rowCount"));
  const Column* column = job->state->Find(attnum);
  if (!column || column->kind != Kind::kVector || column->width != job->index->dimensions()) {
    throw Napi::Error::New(env, "no vector column of the index's dimensions");
  }
  if (column->capacity < rows) throw Napi::RangeError::New(env, "rowCount is beyond the column");
  if (busy_->exchange(true)) throw Napi::Error::New(env, "interim index is being extended");
  job->busy = busy_;
  job->closed = closed_;
  job->env = EnvState::Get(env);
  InterimIndex::Source source{column->As<float>(), column->validity};
  return Start(env, std::move(job), [source, rows](InterimJob& job) {
    return job.index->Extend(source, rows, [&job] { return Pool::Get().HighPending() || job.Stopped(); });
  });
}

Napi::Value InterimObject::Copy(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto job = std::make_unique<InterimJob>();
  job->index = Open(env);
  if (busy_->exchange(true)) throw Napi::Error::New(env, "interim index is being extended");
  job->busy = busy_;
  job->closed = std::make_shared<std::atomic<bool>>(false);
  job->env = EnvState::Get(env);
  return Start(env, std::move(job), [](InterimJob& job) {
    job.copy = job.index->Copy();
    return false;
  });
}

Napi::Value InterimObject::Close(const Napi::CallbackInfo& info) {
  *closed_ = true;
  index_.reset();
  return info.Env().Undefined();
}

Napi::Value InterimObject::RowCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info.Env())->rows()));
}
Napi::Value InterimObject::MemoryBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info.Env())->memory()));
}

}  // namespace elanus
