// Inner loops, one table per instruction set; Kernels::Get() is the one chosen at run time.
//
// Sums here are added in whatever order is fast: good for choosing candidates, never reported. What is reported comes
// from pgvector.h. Rows are `dim` float32; rows of codes are described in hnsw/quantizer.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace elanus {

enum class Predicate : uint8_t { kEqual = 0, kLess = 1, kGreater = 2 };

struct Kernels {
  const char* name;

  // One query against one row, or against four.
  float (*l2)(const float* q, const float* row, size_t dim);   // sum of squared differences
  float (*dot)(const float* q, const float* row, size_t dim);
  float (*l1)(const float* q, const float* row, size_t dim);   // sum of absolute differences
  void (*l2x4)(const float* q, const float* const* rows, size_t dim, float* out);
  void (*dotx4)(const float* q, const float* const* rows, size_t dim, float* out);
  void (*l1x4)(const float* q, const float* const* rows, size_t dim, float* out);
  /** Also the rows' squared lengths. */
  void (*dotnormx4)(const float* q, const float* const* rows, size_t dim, float* out, float* norms);

  // Codes are unsigned bytes: `padded` is a multiple of 64, the query is zero beyond its dimensions.
  /**
   * `q`: padded int16 words w, then as bytes their upper and lower parts, padded int8 each: w = 128 * upper + lower.
   * The sum of w * code must fit int32.
   */
  void (*codedotx4)(const int16_t* q, const uint8_t* const* rows, size_t padded, int32_t* out);
  /** Sum of absolute differences of unsigned bytes; rows are zero beyond their dimensions too. */
  void (*codel1x4)(const uint8_t* q, const uint8_t* const* rows, size_t padded, int32_t* out);

  // Comparisons to a constant: ceil(n / 64) words are written, bits beyond n are zero.
  void (*compare_u8)(const uint8_t* v, size_t n, uint8_t c, Predicate p, uint64_t* out);
  void (*compare_i16)(const int16_t* v, size_t n, int16_t c, Predicate p, uint64_t* out);
  void (*compare_i32)(const int32_t* v, size_t n, int32_t c, Predicate p, uint64_t* out);
  void (*compare_i64)(const int64_t* v, size_t n, int64_t c, Predicate p, uint64_t* out);
  /** In PostgreSQL's order (NaN equals NaN and is greatest). */
  void (*compare_f32)(const float* v, size_t n, double c, Predicate p, uint64_t* out);
  void (*compare_f64)(const double* v, size_t n, double c, Predicate p, uint64_t* out);
  /** inserted <= at < deleted. */
  void (*visible)(const double* inserted, const double* deleted, size_t n, double at, uint64_t* out);

  static const Kernels& Get();
};

const Kernels* KernelsBaseline();
/** nullptr where not compiled for this architecture. */
const Kernels* KernelsAvx2();
const Kernels* KernelsAvx512();

}  // namespace elanus
