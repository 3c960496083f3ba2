// Without a condition:
//
// 1. Greedy descent through the upper levels.
// 2. On the base level a beam: rows sorted by distance, each expanded once, nearest first, until none is left in it.
//    Neighbours not seen yet are collected (their codes prefetched), their distances computed four at a time.
//
// With a condition, recall must be at least that, at a cost that stays within a small factor:
//
// 1. Descent as above, then scouting: a narrow beam over all rows. It ends near the query and tells the share of rows
//    passing *there*, which is what matters (a condition may be correlated with the vectors).
// 2. Where most pass: a beam over all rows, wide enough to hold as many passing ones; passing rows are the results.
//    Where few pass: a beam over passing rows only, stepping over failing neighbours to theirs (two hops, as ACORN,
//    https://arxiv.org/abs/2403.04871). Each expansion then sees more rows, so the beam may be narrower than ef where many pass
//    and must be wider where few do. The widths below were measured (docs/formats/hnsw.md is about bytes; native/bench.mjs measures).
// 3. Where that would cost more than looking at the codes of all passing rows, the caller is told to do so: exact.
//
// Keys are 64 bits: the distance's bits in an order-preserving form above, row << 1 | expanded below: one compare sorts,
// ties go to the lower row. Links are checked against rows(): damaged ones, and those to rows that came after the search, are passed over.
#include "hnsw/search.h"

#include <algorithm>
#include <cmath>
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
  Beam(std::vector<uint64_t>& store, size_t limit) : limit_(std::max<size_t>(limit, 1)) {
    if (store.size() < limit_ + 1) store.resize(limit_ + 1);
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
    size_t last = size_ == limit_ ? limit_ - 1 : size_;
    if (at < last) std::memmove(keys_ + at + 1, keys_ + at, (last - at) * sizeof(uint64_t));
    keys_[at] = key;
    if (size_ < limit_) size_++;
    return at;
  }

 private:
  uint64_t* keys_;
  size_t size_ = 0, limit_;
};

/** What the ways cost, in nanoseconds; measured with 2 to 13 cache lines per row. */
struct Costs {
  explicit Costs(const HnswGraph& index) : lines(static_cast<double>(index.stride()) / 64) {}
  double lines;
  double Scan(size_t rows, size_t passing) const {
    return static_cast<double>(passing) * (0.6 + 2 * lines) + static_cast<double>(rows) * 0.03;
  }
  /** A beam over all rows. */
  double Through(double beam) const { return beam * 26 * (18 + 10 * lines); }
  /** A beam over passing rows with steps over failing ones. */
  double Hop(double beam) const { return beam * (1300 + 40 * (6 + 8 * lines)); }
};

/** Width of the hop beam for a share passing near the query, as a multiple of ef: measured, with a fifth added. */
double HopWidth(double share) {
  struct Point {
    double share, width;
  };
  static constexpr Point kPoints[] = {{0.005, 12}, {0.01, 6}, {0.02, 3}, {0.05, 1.3}, {0.1, 0.9}, {0.2, 0.68}, {0.5, 0.62}, {1, 0.62}};
  if (share <= kPoints[0].share) return kPoints[0].width;
  for (size_t i = 1; i < std::size(kPoints); i++) {
    if (share > kPoints[i].share) continue;
    double at = std::log(share / kPoints[i - 1].share) / std::log(kPoints[i].share / kPoints[i - 1].share);
    return kPoints[i - 1].width + at * (kPoints[i].width - kPoints[i - 1].width);
  }
  return kPoints[std::size(kPoints) - 1].width;
}

constexpr size_t kScoutBeam = 12;

/**
 * Correlated conditions may leave the harder part of the data (measured: the half of words far from a frequent one), whose
 * recall is below the average that is promised: hence wider beams than random conditions need.
 */
constexpr double kThroughMore = 1.75, kEdge = 0.17, kEdgeMost = 2;

class Walker {
 public:
  Walker(const HnswGraph& index, const GraphQuery& query)
      : index_(index), query_(query), s_(GraphScratch::Local()), rows_(static_cast<uint32_t>(index.rows())) {
    if (s_.visited.size() < WordsFor(rows_)) s_.visited.resize(WordsFor(rows_), 0);
    size_t room = index.base_degree() * (index.base_degree() + 1) + 8;
    if (s_.batch.size() < room) {
      s_.batch.resize(room);
      s_.distances.resize(room);
    }
    lines_ = std::min<size_t>(index.stride() / 64, 8);
  }
  ~Walker() { Forget(); }

  void All(std::vector<Candidate>* out) {
    Beam beam(s_.beam, query_.ef);
    Begin(&beam);
    Walk</*kHop=*/false, /*kFilter=*/false>(&beam, nullptr);
    Emit(&beam, out);
  }

  GraphOutcome Filtered(std::vector<Candidate>* out) {
    Costs costs(index_);
    double scan = costs.Scan(rows_, query_.passing_rows);
    size_t room = std::max<size_t>(query_.ef * 16, 256);
    for (size_t width = kScoutBeam;; width *= 8) {
      Forget();
      Beam beam(s_.beam, width), found(s_.found, room);
      Begin(&beam);
      seen_ = 1;
      passed_ = Passes(start_);
      if (passed_) found.Insert(beam.keys()[0]);
      Walk<false, true>(&beam, &found);
      if (found.size() > 0) return Widen(&found, costs, scan, out);
      if (width > 1000 || costs.Through(static_cast<double>(width) * 8) > scan) return GraphOutcome::kScanCodes;
    }
  }

  size_t computed() const { return computed_; }

 private:
  GraphOutcome Widen(Beam* scouted, const Costs& costs, double scan, std::vector<Candidate>* out) {
    double ef = static_cast<double>(query_.ef), share = static_cast<double>(passed_) / static_cast<double>(seen_);
    size_t least = query_.k + query_.k / 4;
    // Where fewer pass than elsewhere, the nearest passing rows lie at an edge, where shares are mixed and ways are long.
    double keep = static_cast<double>(query_.passing_count) / static_cast<double>(index_.nodes()), edge = 1;
    if (share < keep) {
      edge = std::min(kEdgeMost, std::pow(keep / share, kEdge));
      share = std::sqrt(share * keep);
    }
    double through = ef * kThroughMore * (1 + 1.05 * (1 / share - 1)), hop = std::max<double>(static_cast<double>(least), ef * edge * HopWidth(share));
    if (std::min(costs.Through(through), costs.Hop(hop)) > scan) return GraphOutcome::kScanCodes;
    if (share > 0.6) {
      Forget();
      Beam beam(s_.beam, static_cast<size_t>(through)), found(s_.found, query_.ef);
      Begin(&beam);
      if (Passes(start_)) found.Insert(beam.keys()[0]);
      Walk<false, true>(&beam, &found);
      Emit(&found, out);
      return GraphOutcome::kFound;
    }
    // Passing rows that were met are the start. Only they count as seen: failing ones are to be stepped over again.
    Forget();
    Beam beam(s_.beam, std::max<size_t>(static_cast<size_t>(hop), 1));
    for (size_t i = 0; i < scouted->size(); i++) {
      Visit(RowOf(scouted->keys()[i]));
      beam.Insert(scouted->keys()[i]);
    }
    Walk<true, false>(&beam, nullptr);
    Emit(&beam, out);
    return GraphOutcome::kFound;
  }

  void Forget() {
    for (uint32_t w : s_.touched) s_.visited[w] = 0;
    s_.touched.clear();
  }
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
  /** Distances of the batch. */
  void Compute() {
    if (count_ == 0) return;
    size_t padded = (count_ + 3) / 4 * 4;
    for (size_t i = count_; i < padded; i++) s_.batch[i] = s_.batch[count_ - 1];  // kernels take four
    const uint8_t* rows[4];
    for (size_t i = 0; i < padded; i += 4) {
      for (size_t r = 0; r < 4; r++) rows[r] = index_.Code(s_.batch[i + r]);
      query_.code->Distances4(rows, &s_.distances[i]);
    }
    computed_ += count_;
  }

  /** Greedy descent; its end is the beam's only row. */
  void Begin(Beam* beam) {
    if (start_ == kNoRow) Descend();
    Visit(start_);
    beam->Insert(Key(start_distance_, start_));
  }
  void Descend();
  void CollectAll(uint32_t row);
  void CollectHop(uint32_t row);
  template <bool kHop, bool kFilter>
  void Walk(Beam* beam, Beam* found);

  void Emit(Beam* beam, std::vector<Candidate>* out) {
    for (size_t i = 0; i < beam->size(); i++) {
      uint64_t key = beam->keys()[i];
      out->push_back({Unordered(static_cast<uint32_t>(key >> 32)), RowOf(key)});
    }
  }

  const HnswGraph& index_;
  const GraphQuery& query_;
  GraphScratch& s_;
  uint32_t rows_;
  size_t lines_;
  size_t count_ = 0, computed_ = 0, passed_ = 0, seen_ = 1;
  uint32_t start_ = kNoRow;
  float start_distance_ = 0;
};

void Walker::Descend() {
  uint32_t row = index_.entry_point();
  float best = query_.code->Distance(index_.Code(row));
  computed_++;
  size_t m = index_.m();
  for (uint32_t level = index_.max_level(); level > 0; level--) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* links = index_.UpperLinks(row, level);
      if (!links) break;
      count_ = 0;
      for (size_t i = 0; i < m; i++) {
        uint32_t to = LinkAt(links, i);
        if (to < rows_) {
          Push(to);
        } else if (to == kNoRow) {
          break;
        }
      }
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
  start_ = row;
  start_distance_ = best;
}

void Walker::CollectAll(uint32_t row) {
  const uint32_t* links = index_.BaseLinks(row);
  size_t degree = index_.base_degree();
  for (size_t i = 0; i < degree; i++) {
    uint32_t to = LinkAt(links, i);
    if (to >= rows_) {
      if (to == kNoRow) break;
      continue;
    }
    if (Visit(to)) Push(to);
  }
}

void Walker::CollectHop(uint32_t row) {
  const uint32_t* links = index_.BaseLinks(row);
  size_t degree = index_.base_degree();
  uint32_t failing[2048];
  size_t failed = 0;
  for (size_t i = 0; i < degree; i++) {
    uint32_t to = LinkAt(links, i);
    if (to >= rows_) {
      if (to == kNoRow) break;
      continue;
    }
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
      uint32_t to = LinkAt(next, i);
      if (to >= rows_) {
        if (to == kNoRow) break;
        continue;
      }
      if (Passes(to) && Visit(to)) Push(to);
    }
  }
}

template <bool kHop, bool kFilter>
void Walker::Walk(Beam* beam, Beam* found) {
  size_t cursor = 0;
  while (cursor < beam->size()) {
    uint64_t& key = beam->keys()[cursor];
    if (key & 1) {
      cursor++;
      continue;
    }
    key |= 1;
    uint32_t row = RowOf(key);
    count_ = 0;
    if (kHop) {
      CollectHop(row);
    } else {
      CollectAll(row);
    }
    Compute();
    size_t lowest = cursor + 1;
    if (kFilter) seen_ += count_;
    for (size_t i = 0; i < count_; i++) {
      uint64_t next = Key(s_.distances[i], s_.batch[i]);
      if (kFilter && Passes(s_.batch[i])) {
        found->Insert(next);
        passed_++;
      }
      lowest = std::min(lowest, beam->Insert(next));
    }
    cursor = lowest;
    if (cursor < beam->size()) Prefetch(index_.BaseLinks(RowOf(beam->keys()[cursor])), 2);
  }
}

}  // namespace

GraphScratch& GraphScratch::Local() {
  static thread_local GraphScratch scratch;
  return scratch;
}

GraphOutcome SearchGraph(const HnswGraph& index, const GraphQuery& query, std::vector<Candidate>* out, size_t* visited) {
  if (index.entry_point() == kNoRow) return GraphOutcome::kFound;
  Walker walker(index, query);
  GraphOutcome outcome = GraphOutcome::kFound;
  if (query.passing) {
    outcome = walker.Filtered(out);
  } else {
    walker.All(out);
  }
  *visited += walker.computed();
  return outcome;
}

bool PrefersScan(const HnswGraph& index, size_t passing, bool all, size_t k, size_t ef) {
  Costs costs(index);
  double beam = static_cast<double>(ef), least = costs.Through(beam);
  // With a condition a walk costs no less than this, even where everything passes.
  if (!all) least = costs.Through(kScoutBeam) + std::min(least, costs.Hop(beam * 0.5));
  return passing < k * 2 || costs.Scan(index.rows(), passing) < least;
}

}  // namespace elanus
