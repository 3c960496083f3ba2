#include "pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#ifdef __linux__
#include <sched.h>
#endif
#include <csignal>

namespace elanus {

struct Pool::Queues {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> high;
  std::deque<std::function<bool()>> low;
  /** Nanoseconds that low slices may run though high tasks wait. */
  int64_t low_credit = 0;
};

namespace {

constexpr int64_t kLowCreditMost = 20'000'000;

size_t ChooseThreads() {
  if (const char* text = std::getenv("ELANUS_NATIVE_THREADS")) {
    long n = std::strtol(text, nullptr, 10);
    if (n >= 1 && n <= 1024) return static_cast<size_t>(n);
  }
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int n = CPU_COUNT(&set);
    if (n >= 1) return static_cast<size_t>(n);
  }
#endif
  size_t n = std::thread::hardware_concurrency();
  return n ? n : 1;
}

}  // namespace

Pool& Pool::Get() {
  static Pool* pool = new Pool();
  return *pool;
}

Pool::Pool() : queues_(new Queues()), threads_(ChooseThreads()) {
#ifndef _WIN32
  // Signals belong to Node's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  for (size_t i = 0; i < threads_; i++) std::thread([this] { Work(); }).detach();
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
}

void Pool::PostHigh(std::function<void()> task) {
  bool sleeper;
  {
    std::lock_guard lock(queues_->mutex);
    queues_->high.push_back(std::move(task));
    high_pending_.fetch_add(1, std::memory_order_relaxed);
    sleeper = idle_.load(std::memory_order_relaxed) > 0;
  }
  if (sleeper) queues_->wake.notify_one();
}

void Pool::PostLow(std::function<bool()> slice) {
  {
    std::lock_guard lock(queues_->mutex);
    queues_->low.push_back(std::move(slice));
  }
  queues_->wake.notify_one();
}

void Pool::Work() {
  using Clock = std::chrono::steady_clock;
  std::unique_lock lock(queues_->mutex);
  auto since = [](Clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
  };
  for (;;) {
    // Searches first; but where they never cease, a quarter of the time is for builds, or a growing segment's graph would
    // fall behind and make every search slower.
    bool low_waits = !queues_->low.empty();
    if (!queues_->high.empty() && !(low_waits && queues_->low_credit > 0)) {
      auto task = std::move(queues_->high.front());
      queues_->high.pop_front();
      high_pending_.fetch_sub(1, std::memory_order_relaxed);
      lock.unlock();
      auto begin = low_waits ? Clock::now() : Clock::time_point();
      task();
      task = nullptr;
      int64_t took = low_waits ? since(begin) : 0;
      lock.lock();
      queues_->low_credit = std::min(queues_->low_credit + took / 3, kLowCreditMost);
    } else if (!queues_->low.empty()) {
      auto slice = std::move(queues_->low.front());
      queues_->low.pop_front();
      bool charged = !queues_->high.empty();
      lock.unlock();
      auto begin = Clock::now();
      bool again = slice();
      if (!again) slice = nullptr;
      int64_t took = since(begin);
      lock.lock();
      if (charged) queues_->low_credit -= took;
      if (again) queues_->low.push_back(std::move(slice));
    } else {
      idle_.fetch_add(1, std::memory_order_relaxed);
      queues_->wake.wait(lock);
      idle_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
}

}  // namespace elanus
