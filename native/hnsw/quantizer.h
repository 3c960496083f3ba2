// 8-bit codes of vectors: what the graph search traverses.
//
// Codes are unsigned bytes. A row x is seen as
//
//   l2, inner, cosine   x[i] ~ middle[i] + step[i] * (code[i] - 128), code 1..255, a step per dimension. The dot product with a query is
//                       q.middle + sum(q[i] * step[i] * (code[i] - 128)); the products q[i] * step[i] are rounded to 14
//                       bits with one scale, so that the sum is integer arithmetic. l2 comes from it by |q|2 - 2 q.x +
//                       |x|2 around the middle; |x|2 of the decoded row is a float32 kept in the row.
//   l1                  x[i] ~ middle[i] + step * code[i], code 0..255, one step for all dimensions: sums of absolute
//                       differences of bytes. Query values outside of a dimension's range are clamped: that adds the
//                       same to every row.
//
//   row, `stride` bytes (a multiple of 64):
//     0                 dimensions bytes of code
//     normOffset        float32 |x|2 (l2 only; dimensions rounded up to 4)
//     ...               zeros; the query is zero from `dimensions` on, so what lies there does not count
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/pgvector.h"

namespace elanus {

struct CodeLayout {
  size_t dimensions;
  size_t padded;  // bytes the kernels read: a multiple of 64
  size_t norm_offset;
  size_t stride;
};
CodeLayout MakeCodeLayout(Metric metric, size_t dimensions);

class Quantizer {
 public:
  /** `middle` and `step`: dimensions floats each, owned by the index. `residual`: largest |x - decoded x| of a row. */
  Quantizer(Metric metric, const CodeLayout& layout, const float* middle, const float* step, float residual)
      : metric_(metric), layout_(layout), middle_(middle), step_(step), residual_(residual) {}
  const CodeLayout& layout() const { return layout_; }
  Metric metric() const { return metric_; }
  const float* middle() const { return middle_; }
  const float* step() const { return step_; }
  float residual() const { return residual_; }
  /** `row` is in index space (cosine: normalised). Writes stride bytes; returns |row - decoded|, l1: summed. */
  float Encode(const float* row, uint8_t* out) const;

 private:
  Metric metric_;
  CodeLayout layout_;
  const float* middle_;
  const float* step_;
  float residual_;
};

/** A query prepared for distances to codes. In index space, smaller is nearer: |q-x|2, -q.x, or the sum for l1. */
class CodeQuery {
 public:
  /** `query` is in index space. */
  void Prepare(const Quantizer& quantizer, const float* query);
  void Distances4(const uint8_t* const* rows, float* out) const {
    int32_t sums[4];
    if (metric_ == Metric::kL1) {
      kernels_->codel1x4(bytes_.data(), rows, padded_, sums);
      for (int r = 0; r < 4; r++) out[r] = base_ + scale_ * static_cast<float>(sums[r]);
      return;
    }
    kernels_->codedotx4(words_.data(), rows, padded_, sums);
    if (metric_ == Metric::kL2) {
      for (int r = 0; r < 4; r++) {
        out[r] = base_ + *reinterpret_cast<const float*>(rows[r] + norm_offset_) + scale_ * static_cast<float>(sums[r]);
      }
    } else {
      for (int r = 0; r < 4; r++) out[r] = base_ + scale_ * static_cast<float>(sums[r]);
    }
  }
  float Distance(const uint8_t* row) const {
    const uint8_t* rows[4] = {row, row, row, row};
    float out[4];
    Distances4(rows, out);
    return out[0];
  }
  /**
   * The largest code distance a row may have whose true distance is at most that of a row with code distance `d`.
   * Distances in code are off by at most the residual and the rounding of the query.
   */
  float Reach(float d) const;

 private:
  Metric metric_;
  const Kernels* kernels_;
  size_t padded_, norm_offset_;
  float base_, scale_;
  float slack_;     // bound of the error of a distance (l2: of its root)
  float rounding_;  // bound of the query's rounding (l2: of the square)
  std::vector<int16_t> words_;
  std::vector<uint8_t> bytes_;
};

}  // namespace elanus
