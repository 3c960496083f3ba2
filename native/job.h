// Asynchronous calls: Submit gives the promise, Run happens on a pool thread, Complete on the event loop.
//
// Finished jobs are handed to the event loop in batches: one wake-up however many finish before it comes round.
// Jobs are created and destroyed on the event loop's thread, so they may hold JavaScript references (Pin).
// When an environment ends, jobs that have not started are dropped, running ones are waited for (builds see
// env->closing() and stop), then all are destroyed with nothing resolved.
#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "error.h"

namespace elanus {

class Job;

/** Per environment (main thread, each worker thread). Outlives the environment while jobs refer to it. */
class EnvState : public std::enable_shared_from_this<EnvState> {
 public:
  static std::shared_ptr<EnvState> Get(napi_env env);
  bool closing() const { return closing_.load(std::memory_order_relaxed); }
  napi_env env() const { return env_; }
  /** Any thread: `job` has run. */
  void Finish(Job* job);
  /** Any thread: has the event loop run `call` (dropped when the environment is ending). */
  void Call(std::function<void(Napi::Env)> call);
  void Started();
  /** Constructors of our classes and other values kept for the environment's life, by slot. */
  Napi::ObjectReference constants;
  Napi::FunctionReference segment_constructor;
  Napi::FunctionReference index_constructor;
  Napi::FunctionReference interim_constructor;

 private:
  static void Drain(napi_env env, napi_value callback, void* context, void* data);
  static void Cleanup(void* self);
  void Wake();
  napi_env env_ = nullptr;
  napi_threadsafe_function wake_ = nullptr;
  std::mutex mutex_;
  std::condition_variable_any* idle_ = nullptr;
  std::vector<Job*> done_;
  std::vector<std::function<void(Napi::Env)>> calls_;
  bool woken_ = false;
  std::atomic<bool> closing_{false};
  size_t in_flight_ = 0;   // guarded by mutex_
  size_t unresolved_ = 0;  // event loop's thread only
};

class Job {
 public:
  virtual ~Job() = default;
  /** Pool thread. NativeError, std::exception: the promise rejects. */
  virtual void Run() = 0;
  /** Event loop: what the promise resolves with. */
  virtual Napi::Value Complete(Napi::Env env) = 0;

 protected:
  std::shared_ptr<EnvState> env_state() const { return env_; }

 private:
  friend class EnvState;
  friend Napi::Promise Submit(Napi::Env env, std::unique_ptr<Job> job);
  friend Napi::Promise SubmitLow(Napi::Env env, std::unique_ptr<Job> job);
  friend void FinishJob(Job* job);
  friend void FailJob(Job* job, std::string sql_state, std::string message);
  friend Napi::Promise RunNow(Napi::Env env, std::unique_ptr<Job> job);
  friend Napi::Promise Prepare(Napi::Env env, Job* job);
  void RunCaught();
  void Settle(Napi::Env env);
  std::shared_ptr<EnvState> env_;
  napi_deferred deferred_ = nullptr;
  std::optional<NativeError> error_;
};

/** Queues the job with high priority. */
Napi::Promise Submit(Napi::Env env, std::unique_ptr<Job> job);
/** For tiny work: runs here and now, returns a settled promise. */
Napi::Promise RunNow(Napi::Env env, std::unique_ptr<Job> job);
/** A job that runs itself (builds): gives the promise; someone must call FinishJob, or FailJob, once. */
Napi::Promise Prepare(Napi::Env env, Job* job);
void FinishJob(Job* job);
void FailJob(Job* job, std::string sql_state, std::string message);

/** An Error object with message and code. */
Napi::Error MakeError(Napi::Env env, const std::string& sql_state, const std::string& message);

/** Keeps a JavaScript value alive. Created and destroyed on its event loop's thread. */
class Pin {
 public:
  Pin() = default;
  explicit Pin(Napi::Value value) : env_(value.Env()) {
    if (napi_create_reference(env_, value, 1, &ref_) != napi_ok) throw Napi::Error::New(env_, "reference");
  }
  Pin(Pin&& other) noexcept : env_(other.env_), ref_(other.ref_) { other.ref_ = nullptr; }
  Pin& operator=(Pin&& other) noexcept {
    std::swap(env_, other.env_);
    std::swap(ref_, other.ref_);
    return *this;
  }
  ~Pin() {
    if (ref_) napi_delete_reference(env_, ref_);
  }

 private:
  napi_env env_ = nullptr;
  napi_ref ref_ = nullptr;
};

}  // namespace elanus
