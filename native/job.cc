#include "job.h"

#include <condition_variable>
#include <functional>

#include "pool.h"

namespace elanus {

std::shared_ptr<EnvState> EnvState::Get(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  if (data) return *static_cast<std::shared_ptr<EnvState>*>(data);

  auto state = std::make_shared<EnvState>();
  state->env_ = env;
  state->idle_ = new std::condition_variable_any();
  napi_value name;
  napi_create_string_utf8(env, "elanus", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, state.get(), Drain,
                                      &state->wake_) != napi_ok) {
    throw Napi::Error::New(env, "elanus: no thread-safe function");
  }
  napi_unref_threadsafe_function(env, state->wake_);
  // The instance data is freed after all cleanup hooks: ours first waits for the pool.
  napi_set_instance_data(
      env, new std::shared_ptr<EnvState>(state),
      [](napi_env, void* held, void*) { delete static_cast<std::shared_ptr<EnvState>*>(held); }, nullptr);
  napi_add_env_cleanup_hook(env, Cleanup, state.get());
  return state;
}

void EnvState::Cleanup(void* pointer) {
  auto self = static_cast<EnvState*>(pointer)->shared_from_this();
  std::vector<Job*> done;
  {
    std::unique_lock lock(self->mutex_);
    self->closing_ = true;
    self->idle_->wait(lock, [&] { return self->in_flight_ == 0; });
    done.swap(self->done_);
    self->calls_.clear();
  }
  for (Job* job : done) delete job;
  napi_release_threadsafe_function(self->wake_, napi_tsfn_abort);
  self->constants.Reset();
  self->segment_constructor.Reset();
  self->index_constructor.Reset();
  self->interim_constructor.Reset();
}

void EnvState::Started() {
  if (unresolved_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  std::lock_guard lock(mutex_);
  in_flight_++;
}

void EnvState::Wake() {
  if (!woken_ && !closing_) {
    woken_ = true;
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  }
}

void EnvState::Finish(Job* job) {
  std::lock_guard lock(mutex_);
  done_.push_back(job);
  Wake();
  if (--in_flight_ == 0 && closing_) idle_->notify_all();
}

void EnvState::Call(std::function<void(Napi::Env)> call) {
  std::lock_guard lock(mutex_);
  if (closing_) return;
  calls_.push_back(std::move(call));
  Wake();
}

void EnvState::Drain(napi_env env, napi_value, void* context, void*) {
  auto* self = static_cast<EnvState*>(context);
  std::vector<Job*> done;
  std::vector<std::function<void(Napi::Env)>> calls;
  {
    std::lock_guard lock(self->mutex_);
    self->woken_ = false;
    done.swap(self->done_);
    calls.swap(self->calls_);
  }
  if (!env) {  // the environment is going: nothing may be created any more
    for (Job* job : done) delete job;
    return;
  }
  for (auto& call : calls) {
    try {
      Napi::HandleScope scope(env);
      call(env);
    } catch (const Napi::Error&) {
      // A progress callback threw: nobody waits for its result.
    }
  }
  for (Job* job : done) {
    try {
      Napi::HandleScope scope(env);
      job->Settle(env);
    } catch (const Napi::Error&) {
      // The worker thread is being terminated: nobody can be told any more.
    }
    delete job;
    if (--self->unresolved_ == 0) napi_unref_threadsafe_function(env, self->wake_);
  }
}

Napi::Error MakeError(Napi::Env env, const std::string& sql_state, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, sql_state));
  return error;
}

void Job::RunCaught() {
  try {
    Run();
  } catch (const NativeError& error) {
    error_ = error;
  } catch (const std::bad_alloc&) {
    error_ = NativeError("53200", "out of memory");
  } catch (const std::exception& error) {
    error_ = NativeError("XX000", error.what());
  }
}

void Job::Settle(Napi::Env env) {
  napi_value value = nullptr;
  bool failed = false;
  if (error_) {
    value = MakeError(env, error_->sql_state(), error_->what()).Value();
    failed = true;
  } else {
    try {
      value = Complete(env);
    } catch (const Napi::Error& error) {
      value = error.Value();
      failed = true;
    } catch (const NativeError& error) {
      value = MakeError(env, error.sql_state(), error.what()).Value();
      failed = true;
    } catch (const std::exception& error) {
      value = MakeError(env, "XX000", error.what()).Value();
      failed = true;
    }
  }
  if (failed) {
    napi_reject_deferred(env, deferred_, value);
  } else {
    napi_resolve_deferred(env, deferred_, value);
  }
}

Napi::Promise Prepare(Napi::Env env, Job* job) {
  napi_value promise;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) throw Napi::Error::New(env, "promise");
  job->env_ = EnvState::Get(env);
  job->env_->Started();
  return Napi::Promise(env, promise);
}

void FinishJob(Job* job) {
  auto env = job->env_;
  env->Finish(job);
}

void FailJob(Job* job, std::string sql_state, std::string message) {
  job->error_ = NativeError(std::move(sql_state), message);
  FinishJob(job);
}

Napi::Promise Submit(Napi::Env env, std::unique_ptr<Job> owned) {
  Job* job = owned.get();
  Napi::Promise promise = Prepare(env, job);
  owned.release();
  Pool::Get().PostHigh([job] {
    if (!job->env_->closing()) job->RunCaught();
    FinishJob(job);
  });
  return promise;
}

Napi::Promise RunNow(Napi::Env env, std::unique_ptr<Job> job) {
  napi_value promise;
  if (napi_create_promise(env, &job->deferred_, &promise) != napi_ok) throw Napi::Error::New(env, "promise");
  job->RunCaught();
  job->Settle(env);
  return Napi::Promise(env, promise);
}

}  // namespace elanus
