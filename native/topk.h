// The k nearest hits so far, ordered by distance, then segment, then ordinal: a total order, so that any split of the
// work gives the same hits (TOPK-1).
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace elanus {

struct Hit {
  double distance;
  uint32_t segment, ordinal;
  bool operator<(const Hit& other) const {
    if (distance != other.distance) return distance < other.distance;
    if (segment != other.segment) return segment < other.segment;
    return ordinal < other.ordinal;
  }
};

class TopK {
 public:
  explicit TopK(size_t k) : k_(k) {}
  /** NaN is no hit. */
  void Add(const Hit& hit) {
    if (hit.distance != hit.distance) return;
    if (heap_.size() < k_) {
      heap_.push_back(hit);
      std::push_heap(heap_.begin(), heap_.end());
    } else if (k_ > 0 && hit < heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = hit;
      std::push_heap(heap_.begin(), heap_.end());
    }
  }
  void Merge(const TopK& other) {
    for (auto& hit : other.heap_) Add(hit);
  }
  size_t size() const { return heap_.size(); }
  size_t k() const { return k_; }
  bool full() const { return heap_.size() == k_; }
  /** Distance of the k-th; +infinity while there are fewer. */
  double bound() const { return full() && k_ > 0 ? heap_.front().distance : std::numeric_limits<double>::infinity(); }
  /** Nearest first. */
  std::vector<Hit> Sorted() const {
    std::vector<Hit> hits = heap_;
    std::sort_heap(hits.begin(), hits.end());
    return hits;
  }

 private:
  size_t k_;
  std::vector<Hit> heap_;
};

}  // namespace elanus
