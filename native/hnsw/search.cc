// 1. Greedy descent through the upper levels.
// 2. On the base level a beam: rows sorted by distance, each expanded once, nearest first, until none is left in it.
//    Neighbours not seen yet are collected (their codes prefetched), their distances computed four at a time.
//
// Keys are 64 bits: the distance's bits in an order-preserving form above, row << 1 | expanded below: one compare sorts,
// ties go to the lower row. Links are checked against rows(): damaged ones end a list, nothing worse.
#include "hnsw/search.h"

#include <algorithm>
#include <cstring>

namespace elanus {
namespace {

inline uint32_t Ordered(float d) {
  uint32_t bits;
  std::memcpy(&bits, &d, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
inline float Unordered(uint32_t bits) {
  bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
  float d;
  std::memcpy(&d, &bits, 4);
  return d;
}
inline uint64_t Key(float d, uint32_t row) { return static_cast<uint64_t>(Ordered(d)) << 32 | row << 1; }
inline uint32_t RowOf(uint64_t key) { return static_cast<uint32_t>(key) >> 1; }

/** Sorted keys, at most `limit`. */
class Beam {
 public:
  Beam(std::vector<uint64_t>& store, size_t limit) : limit_(limit) {
    if (store.size() < limit + 1) store.resize(limit + 1);
    keys_ = store.data();
  }
  size_t size() const { return size_; }
  bool full() const { return size_ == limit_; }
  uint64_t* keys() { return keys_; }
  /** Keys at or above this are not taken. */
  uint64_t bound() const { return size_ == limit_ ? keys_[limit_ - 1] : ~uint64_t{0}; }
  /** Returns the position, or size_t(-1) when it is too far. */
  size_t Insert(uint64_t key) {
    if (size_ == limit_ && key >= keys_[limit_ - 1]) return static_cast<size_t>(-1);
    // Branch-free lower bound.
    size_t at = 0, length = size_;
    while (length > 0) {
      size_t half = length / 2;
      bool right = keys_[at + half] < key;
      at = right ? at + half + 1 : at;
      length = right ? length - half - 1 : half;
    }
    size_t move = (size_ == limit_ ? limit_ - 1 : size_) - at;
    std::memmove(keys_ + at + 1, keys_ + at, move * sizeof(uint64_t));
    keys_[at] = key;
    if (size_ < limit_) size_++;
    return at;
  }

 private:
  uint64_t* keys_;
  size_t size_ = 0, limit_;
};

class Walker {
 public:
  Walker(const HnswIndex& index, const GraphQuery& query)
      : index_(index), query_(query), s_(GraphScratch::Local()), rows_(static_cast<uint32_t>(index.rows())) {
    if (s_.visited.size() < WordsFor(rows_)) s_.visited.resize(WordsFor(rows_), 0);
    size_t room = index.base_degree() * (index.base_degree() + 1) + query.seed_count + 8;
    if (s_.batch.size() < room) {
      s_.batch.resize(room);
      s_.distances.resize(room);
    }
    lines_ = std::min<size_t>(index.stride() / 64, 8);
  }
  ~Walker() {
    for (uint32_t w : s_.touched) s_.visited[w] = 0;
    s_.touched.clear();
  }

  void Run(std::vector<Candidate>* out);
  size_t computed() const { return computed_; }

 private:
  bool Visit(uint32_t row) {
    uint64_t& word = s_.visited[row >> 6];
    uint64_t bit = uint64_t{1} << (row & 63);
    if (word & bit) return false;
    if (word == 0) s_.touched.push_back(row >> 6);
    word |= bit;
    return true;
  }
  bool Passes(uint32_t row) const { return TestBit(query_.passing, row); }
  void Prefetch(const void* p, size_t lines) const {
    auto* c = static_cast<const char*>(p);
    for (size_t i = 0; i < lines; i++) __builtin_prefetch(c + 64 * i);
  }
  void Push(uint32_t row) {
    Prefetch(index_.Code(row), lines_);
    s_.batch[count_++] = row;
  }
  void Compute() {
    const uint8_t* rows[4];
    while (count_ % 4 && count_ > 0) {  // pad with the last one: kernels take four
      s_.batch[count_] = s_.batch[count_ - 1];
      count_++;
      padding_++;
    }
    for (size_t i = 0; i < count_; i += 4) {
      for (size_t r = 0; r < 4; r++) rows[r] = index_.Code(s_.batch[i + r]);
      query_.code->Distances4(rows, &s_.distances[i]);
    }
    count_ -= padding_;
    padding_ = 0;
    computed_ += count_;
  }
  uint32_t Descend();
  void CollectAll(uint32_t row);
  void CollectHop(uint32_t row);

  const HnswIndex& index_;
  const GraphQuery& query_;
  GraphScratch& s_;
  uint32_t rows_;
  size_t lines_;
  size_t count_ = 0, padding_ = 0, computed_ = 0;
};

uint32_t Walker::Descend() {
  uint32_t row = index_.header().entry_point;
  float best = query_.code->Distance(index_.Code(row));
  computed_++;
  size_t m = index_.header().m;
  for (uint32_t level = index_.header().max_level; level > 0; level--) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* links = index_.UpperLinks(row, level);
      if (!links) break;
      count_ = 0;
      for (size_t i = 0; i < m && links[i] < rows_; i++) Push(links[i]);
      Compute();
      for (size_t i = 0; i < count_; i++) {
        if (s_.distances[i] < best) {
          best = s_.distances[i];
          row = s_.batch[i];
          moved = true;
        }
      }
    }
  }
  count_ = 0;
  return row;
}

void Walker::CollectAll(uint32_t row) {
  const uint32_t* links = index_.BaseLinks(row);
  size_t degree = index_.base_degree();
  for (size_t i = 0; i < degree; i++) {
    uint32_t to = links[i];
    if (to >= rows_) break;
    if (Visit(to)) Push(to);
  }
}

void Walker::CollectHop(uint32_t row) {
  const uint32_t* links = index_.BaseLinks(row);
  size_t degree = index_.base_degree();
  uint32_t failing[2048];
  size_t failed = 0;
  for (size_t i = 0; i < degree; i++) {
    uint32_t to = links[i];
    if (to >= rows_) break;
    if (!Visit(to)) continue;
    if (Passes(to)) {
      Push(to);
    } else if (failed < 2048) {
      Prefetch(index_.BaseLinks(to), 2);
      failing[failed++] = to;
    }
  }
  for (size_t f = 0; f < failed; f++) {
    const uint32_t* next = index_.BaseLinks(failing[f]);
    for (size_t i = 0; i < degree; i++) {
      uint32_t to = next[i];
      if (to >= rows_) break;
      if (Passes(to) && Visit(to)) Push(to);
    }
  }
}

void Walker::Run(std::vector<Candidate>* out) {
  if (index_.header().entry_point == kNoRow) return;
  Beam beam(s_.beam, query_.beam);
  bool through = query_.walk == Walk::kThrough, hop = query_.walk == Walk::kHop;
  Beam found(s_.found, through ? query_.results : 1);

  uint32_t start = Descend();
  Visit(start);
  Push(start);
  for (size_t i = 0; i < query_.seed_count; i++) {
    if (Visit(query_.seeds[i])) Push(query_.seeds[i]);
  }
  Compute();
  for (size_t i = 0; i < count_; i++) {
    uint64_t key = Key(s_.distances[i], s_.batch[i]);
    beam.Insert(key);
    if (through && Passes(s_.batch[i])) found.Insert(key);
  }

  size_t cursor = 0;
  while (cursor < beam.size()) {
    uint64_t& key = beam.keys()[cursor];
    if (key & 1) {
      cursor++;
      continue;
    }
    key |= 1;
    uint32_t row = RowOf(key);
    count_ = 0;
    if (hop) {
      CollectHop(row);
    } else {
      CollectAll(row);
    }
    Compute();
    size_t lowest = cursor + 1;
    for (size_t i = 0; i < count_; i++) {
      uint64_t next = Key(s_.distances[i], s_.batch[i]);
      if (through && Passes(s_.batch[i])) found.Insert(next);
      size_t at = beam.Insert(next);
      lowest = std::min(lowest, at);
    }
    cursor = lowest;
    if (cursor < beam.size()) Prefetch(index_.BaseLinks(RowOf(beam.keys()[cursor])), 2);
  }

  Beam& result = through ? found : beam;
  for (size_t i = 0; i < result.size(); i++) {
    uint64_t key = result.keys()[i];
    uint32_t row = RowOf(key);
    if (hop && !Passes(row)) continue;  // where the walk started
    out->push_back({Unordered(static_cast<uint32_t>(key >> 32)), row});
  }
}

}  // namespace

GraphScratch& GraphScratch::Local() {
  static thread_local GraphScratch scratch;
  return scratch;
}

size_t SearchGraph(const HnswIndex& index, const GraphQuery& query, std::vector<Candidate>* out) {
  Walker walker(index, query);
  walker.Run(out);
  return walker.computed();
}

}  // namespace elanus
