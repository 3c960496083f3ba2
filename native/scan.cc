#include "scan.h"

#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "kernels/kernels.h"
#include "pool.h"

namespace elanus {
namespace {

/**
 * Sums in a fast order tell which rows need the sequential sum. Whatever the order, a float32 sum of n products is off
 * by at most about n * 2^-24 of the sum of their magnitudes; the gate leaves four times that.
 */
class Gate {
 public:
  explicit Gate(const PgQuery& query) : metric_(query.metric) {
    double norm = 0;
    for (size_t i = 0; i < query.dim; i++) norm += static_cast<double>(query.values[i]) * query.values[i];
    length_ = static_cast<float>(std::sqrt(norm));
    epsilon_ = static_cast<float>((query.dim + 16.0) * 0x1p-22);
    SetBound(std::numeric_limits<double>::infinity());
  }
  void SetBound(double bound) {
    bound_ = static_cast<float>(bound);
    switch (metric_) {
      case Metric::kL2:
        limit_ = static_cast<float>(bound * bound * (1 + epsilon_) + 1e-30);
        break;
      case Metric::kL1:
        limit_ = static_cast<float>(bound * (1 + epsilon_) + 1e-30);
        break;
      case Metric::kInner:
        limit_ = static_cast<float>(bound + std::fabs(bound) * 1e-6 + 1e-30);
        break;
      case Metric::kCosine:
        limit_ = static_cast<float>(1 - bound) - epsilon_;
        break;
    }
  }
  /** Four rows; bit r set = row r may be a hit. */
  unsigned Judge(const Kernels& k, const float* q, const float* const* rows, size_t dim) const {
    float sums[4], norms[4];
    unsigned mask = 0;
    switch (metric_) {
      case Metric::kL2:
      case Metric::kL1:
        (metric_ == Metric::kL2 ? k.l2x4 : k.l1x4)(q, rows, dim, sums);
        for (int r = 0; r < 4; r++) mask |= static_cast<unsigned>(!(sums[r] > limit_)) << r;
        break;
      case Metric::kInner:
        k.dotnormx4(q, rows, dim, sums, norms);
        for (int r = 0; r < 4; r++) {
          mask |= static_cast<unsigned>(!(-sums[r] > limit_ + epsilon_ * length_ * std::sqrt(norms[r]))) << r;
        }
        break;
      case Metric::kCosine:
        k.dotnormx4(q, rows, dim, sums, norms);
        for (int r = 0; r < 4; r++) {
          bool far = norms[r] > 1e-25f && sums[r] < limit_ * length_ * std::sqrt(norms[r]);
          mask |= static_cast<unsigned>(!far) << r;
        }
        break;
    }
    return mask;
  }

 private:
  Metric metric_;
  float length_, epsilon_, bound_ = 0, limit_ = 0;
};

class RangeScan {
 public:
  RangeScan(const ScanInput& input, TopK* top) : in_(input), top_(top), gate_(*input.query), k_(Kernels::Get()) {
    gate_.SetBound(top->bound());
  }
  size_t Run(size_t begin, size_t end) {
    size_t before = computed_;
    auto each = [&](size_t row) {
      if (!in_.column->Valid(row)) return;
      rows_[count_] = in_.column->Vector(row);
      numbers_[count_++] = static_cast<uint32_t>(row);
      if (count_ == kBatch) Flush();
    };
    if (in_.passing) {
      // Survivors are scattered: fetch ahead of the batch.
      ForEachBit(in_.passing, begin, end, [&](size_t row) {
        const char* p = reinterpret_cast<const char*>(in_.column->Vector(row));
        for (size_t i = 0; i < std::min<size_t>(in_.query->dim * 4, 512); i += 64) __builtin_prefetch(p + i);
        each(row);
      });
    } else {
      for (size_t row = begin; row < end; row++) each(row);
    }
    Flush();
    return computed_ - before;
  }

 private:
  static constexpr size_t kBatch = 32;
  void Flush() {
    if (count_ == 0) return;
    computed_ += count_;
    size_t n = count_;
    while (n % 4) {
      rows_[n] = rows_[n - 1];
      n++;
    }
    for (size_t i = 0; i < n; i += 4) {
      unsigned mask = gate_.Judge(k_, in_.query->values, rows_ + i, in_.query->dim);
      while (mask) {
        size_t at = i + std::countr_zero(mask);
        mask &= mask - 1;
        if (at >= count_) break;
        double before = top_->bound();
        top_->Add({PgDistance(*in_.query, rows_[at]), in_.segment, numbers_[at]});
        if (top_->bound() != before) gate_.SetBound(top_->bound());
      }
    }
    count_ = 0;
  }
  const ScanInput& in_;
  TopK* top_;
  Gate gate_;
  const Kernels& k_;
  const float* rows_[kBatch + 4];
  uint32_t numbers_[kBatch + 4];
  size_t count_ = 0, computed_ = 0;
};

/** Runs f(begin, end, top) over chunks of [0, rows), on this thread and on idle ones. */
struct Split {
  explicit Split(size_t rows, size_t chunk) : rows(rows), chunk(chunk) {}
  size_t rows, chunk;
  std::atomic<size_t> next{0};
  std::atomic<size_t> computed{0};
  std::mutex mutex;
  std::condition_variable ended;
  size_t active = 0;
  bool closed = false;
};

}  // namespace

size_t ScanColumn(const ScanInput& input, TopK* top) {
  if (top->k() == 0) return 0;
  size_t bytes = (input.rows - input.begin) * input.query->dim * 4;
  size_t helpers = input.may_split && bytes >= (size_t{4} << 20) ? std::min(Pool::Get().IdleThreads(), size_t{15}) : 0;
  if (helpers == 0) return RangeScan(input, top).Run(input.begin, input.rows);

  size_t chunk = std::max<size_t>(64, (size_t{1} << 20) / (input.query->dim * 4) / 64 * 64);
  auto split = std::make_shared<Split>(input.rows, chunk);
  split->next = input.begin;
  auto work = [](Split& s, const ScanInput& in, TopK* mine) {
    RangeScan scan(in, mine);
    for (;;) {
      size_t begin = s.next.fetch_add(s.chunk);
      if (begin >= s.rows) return;
      s.computed += scan.Run(begin, std::min(s.rows, begin + s.chunk));
    }
  };
  for (size_t i = 0; i < helpers; i++) {
    Pool::Get().PostHigh([split, work, &input, top] {
      {
        std::lock_guard lock(split->mutex);
        if (split->closed) return;  // came too late: `input` may be gone
        split->active++;
      }
      TopK mine(top->k());
      work(*split, input, &mine);
      std::lock_guard lock(split->mutex);
      top->Merge(mine);
      split->active--;
      split->ended.notify_all();
    });
  }
  TopK mine(top->k());
  work(*split, input, &mine);
  std::unique_lock lock(split->mutex);
  split->closed = true;
  top->Merge(mine);
  split->ended.wait(lock, [&] { return split->active == 0; });
  return split->computed;
}

size_t ScanCodes(const ScanInput& input, const HnswGraph& index, const CodeQuery& code, TopK* top) {
  struct Near {
    float distance;
    uint32_t row;
  };
  static thread_local std::vector<Near> candidates;
  static thread_local std::vector<float> nearest;  // max-heap of the k smallest code distances
  candidates.clear();
  nearest.clear();
  size_t k = top->k(), computed = 0;
  if (k == 0) return 0;
  float reach = INFINITY;
  // Two batches: while one is computed the codes of the next are on their way.
  constexpr size_t kBatch = 32;
  uint32_t batches[2][kBatch + 4];
  uint32_t* numbers = batches[0];
  size_t count = 0, waiting = 0, lines = std::min<size_t>(index.stride() / 64, 8);
  auto compute = [&](uint32_t* batch, size_t size) {
    computed += size;
    size_t n = size;
    for (; n % 4; n++) batch[n] = batch[n - 1];
    for (size_t i = 0; i < n; i += 4) {
      const uint8_t* rows[4];
      float distances[4];
      for (size_t r = 0; r < 4; r++) rows[r] = index.Code(batch[i + r]);
      code.Distances4(rows, distances);
      if (std::min(std::min(distances[0], distances[1]), std::min(distances[2], distances[3])) > reach) continue;
      for (size_t r = 0; r < 4 && i + r < size; r++) {
        float d = distances[r];
        if (d > reach) continue;
        candidates.push_back({d, batch[i + r]});
        if (nearest.size() < k) {
          nearest.push_back(d);
          std::push_heap(nearest.begin(), nearest.end());
        } else if (d < nearest.front()) {
          std::pop_heap(nearest.begin(), nearest.end());
          nearest.back() = d;
          std::push_heap(nearest.begin(), nearest.end());
        } else {
          continue;
        }
        if (nearest.size() == k) reach = code.Reach(nearest.front());
      }
    }
  };
  auto flush = [&] {
    uint32_t* other = numbers == batches[0] ? batches[1] : batches[0];
    if (waiting) compute(other, waiting);
    waiting = count;
    numbers = other;
    count = 0;
  };
  ForEachBit(input.passing, 0, input.rows, [&](size_t row) {
    const uint8_t* p = index.Code(static_cast<uint32_t>(row));
    for (size_t i = 0; i < lines; i++) __builtin_prefetch(p + 64 * i);
    numbers[count++] = static_cast<uint32_t>(row);
    if (count == kBatch) flush();
  });
  flush();
  flush();

  const float* rows[8];
  double distances[8];
  uint32_t exact[8];
  size_t at = 0;
  auto finish = [&] {
    PgDistances(*input.query, rows, at, distances);
    for (size_t i = 0; i < at; i++) top->Add({distances[i], input.segment, exact[i]});
    at = 0;
  };
  for (auto& candidate : candidates) {
    if (candidate.distance > reach) continue;
    rows[at] = input.column->Vector(candidate.row);
    exact[at++] = candidate.row;
    if (at == 8) finish();
  }
  if (at) finish();
  return computed;
}

}  // namespace elanus
