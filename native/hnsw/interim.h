// A graph over the first rows of a growing segment: extended while it is searched.
//
// The structure is Faiss' HNSW, built row by row by one thread (the same insertion as hnsw/build.cc, so recall is that of a
// built index). After each row the lists that it changed are copied to a second form, which is what searches walk: codes
// and links of fixed width, as in the file. So a search takes no lock and sees a graph that is whole up to some row.
//
//   private    faiss::HNSW, levels, 1/length of rows (cosine): only the extending thread
//   published  InterimStore: codes, links, in_graph, entry point, row count. What a link leads to is written before the link.
//
// A store is replaced when it is full (twice the capacity) or when too many rows lie outside of the range that its codes
// cover; searches inside go on with the one they have. Distances of insertion are computed from the column's float32 values, of
// which no copy is made.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hnsw/index.h"
#include "hnsw/ranges.h"

namespace elanus {

struct InterimStore;

class InterimIndex {
 public:
  struct Options {
    size_t dimensions;
    Metric metric;
    size_t m, ef_construction;
  };
  /** Column values that a turn of extending reads: at least the rows asked for. */
  struct Source {
    const float* values;
    const uint8_t* validity;  // nullptr: no NULLs
  };

  explicit InterimIndex(const Options& options);
  ~InterimIndex();

  /** A graph to search, and what keeps it; rows() is at most `rows` and may be 0. */
  struct View {
    HnswGraph graph;
    std::shared_ptr<const InterimStore> store;
  };
  View Look(size_t rows) const;

  Metric metric() const { return options_.metric; }
  size_t dimensions() const { return options_.dimensions; }
  /** Rows looked at so far: in the graph, or known not to belong there. */
  size_t rows() const { return rows_.load(std::memory_order_acquire); }
  size_t memory() const { return memory_.load(std::memory_order_relaxed); }

  /**
   * Takes in rows up to `rows`; returns after each one when `yield` says so. Returns true when there is more to do.
   * One caller at a time.
   */
  bool Extend(const Source& source, size_t rows, const std::function<bool()>& yield);
  /** The graph as an index of its own (hnsw.md): what a sealed segment of the same rows is given. Not during Extend. */
  std::shared_ptr<HnswIndex> Copy() const;

 private:
  struct Builder;
  void Begin(const Source& source, size_t rows);
  void Insert(uint32_t row);
  void Publish(uint32_t row);
  bool Encode(uint32_t row);
  std::shared_ptr<InterimStore> MakeStore(size_t capacity) const;
  void Enlarge();
  void Rerange(size_t rows);
  void Replace(std::shared_ptr<InterimStore> store);
  const float* InIndexSpace(size_t row, float* room) const;

  const Options options_;
  std::unique_ptr<Builder> builder_;
  mutable std::mutex mutex_;  // of published_ alone
  std::shared_ptr<InterimStore> published_;
  std::atomic<size_t> rows_{0}, memory_{0};
};

}  // namespace elanus
