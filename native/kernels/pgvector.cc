#include "pgvector.h"

#include <cmath>

namespace elanus {
namespace {

template <int N>
void Sums(Metric metric, const float* q, const float* const* rows, size_t dim, float* sums, float* norms) {
  float s[N] = {}, n[N] = {};
  switch (metric) {
    case Metric::kL2:
      for (size_t i = 0; i < dim; i++) {
        for (int r = 0; r < N; r++) {
          float diff = q[i] - rows[r][i];
          s[r] += diff * diff;
        }
      }
      break;
    case Metric::kInner:
      for (size_t i = 0; i < dim; i++) {
        for (int r = 0; r < N; r++) s[r] += q[i] * rows[r][i];
      }
      break;
    case Metric::kCosine:
      for (size_t i = 0; i < dim; i++) {
        for (int r = 0; r < N; r++) {
          float x = rows[r][i];
          s[r] += q[i] * x;
          n[r] += x * x;
        }
      }
      break;
    case Metric::kL1:
      for (size_t i = 0; i < dim; i++) {
        for (int r = 0; r < N; r++) s[r] += std::fabs(q[i] - rows[r][i]);
      }
      break;
  }
  for (int r = 0; r < N; r++) {
    sums[r] = s[r];
    norms[r] = n[r];
  }
}

double Finish(const PgQuery& query, float sum, float norm) {
  switch (query.metric) {
    case Metric::kL2:
      return std::sqrt(static_cast<double>(sum));
    case Metric::kInner:
      return static_cast<double>(sum) * -1;
    case Metric::kCosine: {
      double similarity =
          static_cast<double>(sum) / std::sqrt(static_cast<double>(query.norm) * static_cast<double>(norm));
      if (similarity > 1) {
        similarity = 1.0;
      } else if (similarity < -1) {
        similarity = -1.0;
      }
      return 1.0 - similarity;
    }
    case Metric::kL1:
      return static_cast<double>(sum);
  }
  return 0;
}

}  // namespace

float PgNorm(const float* values, size_t dim) {
  float norm = 0;
  for (size_t i = 0; i < dim; i++) norm += values[i] * values[i];
  return norm;
}

PgQuery MakePgQuery(Metric metric, const float* values, size_t dim) {
  return {metric, values, dim, metric == Metric::kCosine ? PgNorm(values, dim) : 0};
}

double PgDistance(const PgQuery& query, const float* row) {
  float sum, norm;
  Sums<1>(query.metric, query.values, &row, query.dim, &sum, &norm);
  return Finish(query, sum, norm);
}

void PgDistances(const PgQuery& query, const float* const* rows, size_t count, double* out) {
  float sums[8], norms[8];
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    Sums<8>(query.metric, query.values, rows + i, query.dim, sums, norms);
    for (int r = 0; r < 8; r++) out[i + r] = Finish(query, sums[r], norms[r]);
  }
  for (; i + 4 <= count; i += 4) {
    Sums<4>(query.metric, query.values, rows + i, query.dim, sums, norms);
    for (int r = 0; r < 4; r++) out[i + r] = Finish(query, sums[r], norms[r]);
  }
  for (; i < count; i++) out[i] = PgDistance(query, rows[i]);
}

}  // namespace elanus
