// Which way a segment with an index is searched, by what the ways cost.
#pragma once
#include <cstddef>

#include "hnsw/search.h"

namespace elanus {

struct GraphPlan {
  enum Kind : uint8_t { kGraph, kCodes, kColumn } kind = kGraph;
  Walk walk = Walk::kAll;
  size_t beam = 0, results = 0;
  /** How many of the nearest by code get their final distance. */
  size_t rerank = 0;
};

/** `passing` rows of the graph may be returned; `all`: that is every one. */
GraphPlan PlanGraph(const HnswIndex& index, size_t passing, bool all, size_t k, size_t ef);

}  // namespace elanus
