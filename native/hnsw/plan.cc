#include "hnsw/plan.h"

#include <algorithm>

namespace elanus {

GraphPlan PlanGraph(const HnswIndex& index, size_t passing, bool all, size_t k, size_t ef) {
  GraphPlan plan;
  plan.rerank = std::max<size_t>(30, k + k / 2 + 10);
  plan.beam = plan.results = std::max(ef, k);
  if (passing <= std::max<size_t>(k * 4, 500) || k * 4 > passing) {
    plan.kind = k > 2000 ? GraphPlan::kColumn : GraphPlan::kCodes;
    return plan;
  }
  if (all) return plan;
  double keep = static_cast<double>(passing) / static_cast<double>(index.indexed());
  if (keep < 0.05) {
    plan.kind = GraphPlan::kCodes;
  } else {
    plan.walk = Walk::kThrough;
    plan.beam = static_cast<size_t>(plan.beam + k / keep);
  }
  return plan;
}

}  // namespace elanus
