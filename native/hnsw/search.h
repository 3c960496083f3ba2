// Searching the graph over codes. What comes out are candidates: rows with code distances, nearest first; the caller
// computes final distances from the column.
#pragma once
#include <cstdint>
#include <vector>

#include "bits.h"
#include "hnsw/index.h"

namespace elanus {

struct Candidate {
  float distance;
  uint32_t row;
};

/** How the graph is walked when a condition holds for some rows only. */
enum class Walk : uint8_t {
  kAll,      // no condition
  kThrough,  // every row is walked, passing rows are results
  kHop,      // only passing rows are walked; rows that fail are stepped over to their neighbours
};

struct GraphQuery {
  const CodeQuery* code = nullptr;
  /** Walk::kThrough and kHop: bit set = may be returned. Length index.rows(). */
  const uint64_t* passing = nullptr;
  Walk walk = Walk::kAll;
  /** Rows kept while walking (kThrough: of all rows). */
  size_t beam = 40;
  /** kThrough: passing rows kept. */
  size_t results = 40;
  /** kHop: where to start beside the descent's end: passing rows. */
  const uint32_t* seeds = nullptr;
  size_t seed_count = 0;
};

/** Visited rows and the beam: one per thread, reused. */
class GraphScratch {
 public:
  static GraphScratch& Local();
  std::vector<uint64_t> visited;      // all zero between searches
  std::vector<uint32_t> touched;      // words of `visited` to clear
  std::vector<uint64_t> beam, found;  // sorted keys
  std::vector<uint32_t> batch;
  std::vector<float> distances;
};

/** Appends at most `results` (kThrough) or `beam` candidates to `out`; returns the distances computed. */
size_t SearchGraph(const HnswIndex& index, const GraphQuery& query, std::vector<Candidate>* out);

}  // namespace elanus
