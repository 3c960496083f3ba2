// The add-on's threads: one pool per process, as many threads as cores (ELANUS_NATIVE_THREADS overrides).
//
// Two queues. High: searches and everything a client waits for, first in first out. Low: slices of index builds; a
// slice returns true to be queued again and is asked (through HighPending) to return soon when a high task waits. Where
// high tasks never cease, low slices get a quarter of the time.
// The pool is never destroyed: its threads end with the process (the library is linked with -z nodelete).
#pragma once
#include <atomic>
#include <functional>

namespace elanus {

class Pool {
 public:
  static Pool& Get();
  size_t threads() const { return threads_; }
  /** Runs `task` on a pool thread. `task` must not throw. */
  void PostHigh(std::function<void()> task);
  /** Runs `slice` when no high task waits, again and again until it returns false. Must not throw. */
  void PostLow(std::function<bool()> slice);
  /** A low slice ought to return. */
  bool HighPending() const { return high_pending_.load(std::memory_order_relaxed) > 0; }
  /** Threads that wait for work now (a hint: whether splitting a scan would help). */
  size_t IdleThreads() const { return idle_.load(std::memory_order_relaxed); }

 private:
  Pool();
  void Work();
  struct Queues;
  Queues* queues_;
  size_t threads_;
  std::atomic<size_t> high_pending_{0};
  std::atomic<size_t> idle_{0};
};

}  // namespace elanus
