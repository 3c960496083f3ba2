// Searching the graph over codes. What comes out are candidates: nodes with code distances, nearest first; the caller
// computes final distances from the column and adds the rows that are chained to them. k and ef count nodes.
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

struct GraphQuery {
  const CodeQuery* code = nullptr;
  size_t k = 10;
  /** At least k. */
  size_t ef = 40;
  /** Bit set = the node may be returned; length index.rows(). nullptr: every node. */
  const uint64_t* passing = nullptr;
  size_t passing_count = 0;
  /** Rows that a scan instead would look at: as many, or more where nodes stand for several rows. */
  size_t passing_rows = 0;
};

enum class GraphOutcome : uint8_t {
  kFound,
  /** Looking at the codes of all passing rows costs less than walking on. */
  kScanCodes,
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

/** Appends candidates to `out`, adds the distances computed to `visited`. */
GraphOutcome SearchGraph(const HnswGraph& index, const GraphQuery& query, std::vector<Candidate>* out, size_t* visited);

/** Whether scanning `passing` codes is cheaper than any walk with this ef, whatever the walk meets. */
bool PrefersScan(const HnswGraph& index, size_t passing, bool all, size_t k, size_t ef);

}  // namespace elanus
