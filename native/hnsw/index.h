// The built HNSW index of one vector column of one segment: one block of memory, the same bytes as the file.
// docs/formats/hnsw.md draws it. Immutable; searched by many threads at once.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bits.h"
#include "hnsw/quantizer.h"
#include "kernels/pgvector.h"

namespace elanus {

constexpr uint32_t kNoRow = 0xffffffff;

struct HnswSection {
  uint64_t offset, size, checksum;
};
enum HnswSectionId { kQuantizer, kCodes, kBaseLinks, kUpperOffsets, kUpperLinks, kInGraph, kEqualRows, kSectionCount };
/** Version 1 has no equal rows: each row in the graph is a node. */
constexpr uint32_t kHnswVersion = 2;
constexpr int kSectionsOfVersion1 = kEqualRows;

struct HnswHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_size;
  uint64_t file_size;
  uint64_t row_count;
  uint32_t dimensions;
  uint32_t metric;
  uint32_t m;
  uint32_t ef_construction;
  uint32_t entry_point;
  uint32_t max_level;
  uint32_t code_stride;
  uint32_t code_padded;
  uint64_t indexed_count;
  float residual;
  uint32_t stray_count;
  uint32_t chained_count;
  uint32_t reserved[7];
  HnswSection sections[kSectionCount];
};
constexpr size_t kHnswHeaderSize = 4096;
static_assert(sizeof(HnswHeader) == 280, "drawn in docs/formats/hnsw.md");

/** Memory of an index: anonymous (2 MiB pages where the system gives them) or a mapped file. */
class Block {
 public:
  static std::unique_ptr<Block> Allocate(size_t size);
  static std::unique_ptr<Block> Map(const std::string& path);
  ~Block();
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0, reserved_ = 0;
  void* base_ = nullptr;
};

/** Lengths of an index's sections, in bytes. */
struct HnswSizes {
  uint64_t of[kSectionCount];
};
/** Places the sections and takes memory for them; header.sections and file_size are filled in. */
std::unique_ptr<Block> AllocateIndex(const HnswSizes& sizes, HnswHeader* header);

/** A word of a list of links; it may be written by a builder meanwhile, and what it leads to was written before. */
inline uint32_t LinkAt(const uint32_t* links, size_t i) { return __atomic_load_n(links + i, __ATOMIC_ACQUIRE); }

/**
 * Rows with byte-equal vectors are one node of the graph, the first of them; the others are chained to it, in row order. All are
 * zero where nothing is chained, so that fresh memory says so. A built index has them in one section, one after the other.
 */
struct EqualChains {
  /** Bit set = the row is chained: not a node. nullptr: no row is. */
  const uint64_t* chained = nullptr;
  /** Of a chained row: how many rows before it the node is. */
  const uint32_t* back = nullptr;
  /** Of a node or a chained row: how many rows behind it the next equal one is; 0: none. */
  const uint32_t* ahead = nullptr;
  static uint64_t SizeFor(size_t rows) { return WordsFor(rows) * 8 + rows * 8; }
  static EqualChains In(const uint8_t* section, size_t rows) {
    auto* back = reinterpret_cast<const uint32_t*>(section + WordsFor(rows) * 8);
    return {reinterpret_cast<const uint64_t*>(section), back, back + rows};
  }
};

/**
 * A graph as a search walks it: pointers into memory that somebody else keeps. Base of a built index; of a graph that
 * grows (hnsw/interim.h) a view is made per search. There links may change while they are read, one word at a time, and
 * lead to rows at or beyond rows(), which the search passes over.
 */
class HnswGraph {
 public:
  Metric metric() const { return quantizer_->metric(); }
  size_t rows() const { return rows_; }
  size_t dimensions() const { return quantizer_->layout().dimensions; }
  /** Rows that the graph leads to: nodes, and rows chained to them. */
  size_t indexed() const { return indexed_; }
  size_t nodes() const { return indexed_ - chained_; }
  /** Whether nodes may stand for several rows. */
  bool has_chains() const { return chains_.chained != nullptr; }
  /** The next row with the vector of this one, behind it; kNoRow: none. Damaged bytes end a chain, or lead to other rows of it. */
  uint32_t NextEqual(uint32_t row) const {
    uint32_t ahead = LinkAt(chains_.ahead, row);
    return ahead == 0 || ahead >= rows_ - row ? kNoRow : row + ahead;
  }
  /** Bits of rows → bits of nodes that stand for at least one of them. Only with chains. */
  void ToNodes(const Bitset& rows, Bitset* nodes) const;
  /** Rows that are not in the graph though they have a distance (far outside of what the others span): searched one by one. */
  size_t strays() const { return strays_; }
  const Quantizer& quantizer() const { return *quantizer_; }
  /** kNoRow: no row is in the graph. */
  uint32_t entry_point() const { return entry_point_; }
  uint32_t max_level() const { return max_level_; }
  size_t m() const { return m_; }

  const uint8_t* Code(uint32_t row) const { return codes_ + static_cast<size_t>(row) * stride_; }
  size_t stride() const { return stride_; }
  /** 2m links, ended early by kNoRow. */
  const uint32_t* BaseLinks(uint32_t row) const { return base_links_ + static_cast<size_t>(row) * base_degree_; }
  size_t base_degree() const { return base_degree_; }
  /** m links of a level >= 1, or nullptr (also for damaged offsets: a bad byte must not crash). */
  const uint32_t* UpperLinks(uint32_t row, uint32_t level) const {
    uint32_t at = upper_offsets_[row];
    if (at == kNoRow) return nullptr;
    uint64_t begin = static_cast<uint64_t>(at) + static_cast<uint64_t>(level - 1) * m_;
    if (begin + m_ > upper_size_) return nullptr;
    return upper_links_ + begin;
  }
  /** nullptr: the graph leads to every row. Bits at and beyond rows() mean nothing. */
  const uint64_t* in_graph() const { return in_graph_; }

  /** cosine: the normalised query; otherwise as it is. */
  void ToIndexSpace(const float* query, std::vector<float>* out) const;

 protected:
  friend class InterimIndex;
  HnswGraph() = default;
  const Quantizer* quantizer_ = nullptr;
  size_t rows_ = 0, indexed_ = 0, chained_ = 0, strays_ = 0, stride_ = 0, m_ = 0, base_degree_ = 0, upper_size_ = 0;
  uint32_t entry_point_ = kNoRow, max_level_ = 0;
  const uint8_t* codes_ = nullptr;
  const uint32_t* base_links_ = nullptr;
  const uint32_t* upper_offsets_ = nullptr;
  const uint32_t* upper_links_ = nullptr;
  const uint64_t* in_graph_ = nullptr;
  EqualChains chains_;
};

class HnswIndex : public HnswGraph {
 public:
  /** Takes a block whose header and section bounds hold. @throws NativeError XX001 when they do not. */
  explicit HnswIndex(std::unique_ptr<Block> block);
  /** Takes a block whose sections are filled: adds the sums. */
  static std::shared_ptr<HnswIndex> Finish(std::unique_ptr<Block> block, HnswHeader header);
  /** `verify`: reads all of it and compares checksums; without, pages come when they are touched. */
  static std::shared_ptr<HnswIndex> Load(const std::string& path, bool verify);
  void Save(const std::string& path) const;

  const HnswHeader& header() const { return *reinterpret_cast<const HnswHeader*>(block_->data()); }
  size_t memory() const { return block_->size(); }

 private:
  std::unique_ptr<Block> block_;
  std::unique_ptr<Quantizer> owned_quantizer_;
};

struct BuildInput {
  const float* values;
  const uint8_t* validity;  // nullptr: no NULLs
  size_t rows, dimensions;
  Metric metric;
  size_t m, ef_construction;
};

/** A build as slices that several pool threads run; the last one to end calls `done` (with an error's text or empty). */
class HnswBuild : public std::enable_shared_from_this<HnswBuild> {
 public:
  HnswBuild(const BuildInput& input, size_t threads, std::function<bool()> stopped);
  ~HnswBuild();
  void Start(std::function<void(std::shared_ptr<HnswIndex>, std::string)> done);
  size_t rows_done() const { return rows_done_.load(std::memory_order_relaxed); }
  void Abort() { aborted_ = true; }

 private:
  struct State;
  bool Slice();
  void Prepare();
  std::shared_ptr<HnswIndex> Repack();
  std::unique_ptr<State> state_;
  std::atomic<size_t> rows_done_{0};
  std::atomic<bool> aborted_{false};
};

}  // namespace elanus
