// The reported distances: what pgvector's operators return, bit for bit (src/vector.c of pgvector 0.8, compiled without
// contraction): float32 accumulation in element order, then double.
#pragma once
#include <cstddef>
#include <cstdint>

namespace elanus {

enum class Metric : uint8_t { kL2 = 0, kInner = 1, kCosine = 2, kL1 = 3 };

/** One query's side of the formula. */
struct PgQuery {
  Metric metric;
  const float* values;
  size_t dim;
  float norm;  // cosine: the query's squared length, accumulated in order
};

PgQuery MakePgQuery(Metric metric, const float* values, size_t dim);
double PgDistance(const PgQuery& query, const float* row);
/** Up to eight rows at once: the sums are sequential, so speed comes from doing several side by side. */
void PgDistances(const PgQuery& query, const float* const* rows, size_t count, double* out);
/** Squared length accumulated in order. */
float PgNorm(const float* values, size_t dim);

}  // namespace elanus
