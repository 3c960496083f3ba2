// Building: Faiss' HNSW makes the structure over float32 rows with our distances, then it is repacked.
//
//   1. Rows that can be in the graph are chosen (not NULL; cosine: length > 0; finite length) and copied to index space.
//      Of rows with byte-equal vectors one is a node of the graph; the others are chained to it (index.h).
//   2. Levels are drawn; rows are inserted from the highest level down, in random order within a level (as
//      faiss::IndexHNSW does), by up to `threads` slices at once. A slice ends when a search waits.
//   3. Whoever ends last repacks: codes, base links of fixed width, upper links.
//
// Concurrency: faiss::HNSW::add_with_locks locks per row. Rows are handed out by an atomic counter, level by level: a
// level's rows start only when all of the level above are in, as Faiss does.
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/HNSW.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <chrono>
#include <random>
#include <thread>

#include "error.h"
#include "hnsw/equal-rows.h"
#include "hnsw/index.h"
#include "hnsw/ranges.h"
#include "pool.h"

namespace elanus {
namespace {

/** Rows in index space, each padded to a cache line. */
struct Rows {
  std::unique_ptr<Block> block;
  size_t stride = 0, dim = 0;
  Metric metric = Metric::kL2;
  float* Row(size_t i) const { return reinterpret_cast<float*>(block->data()) + i * stride; }
};

class RowDistance final : public faiss::DistanceComputer {
 public:
  explicit RowDistance(const Rows& rows) : rows_(rows) {
    const Kernels& k = Kernels::Get();
    switch (rows.metric) {
      case Metric::kL2:
        one_ = k.l2;
        break;
      case Metric::kL1:
        one_ = k.l1;
        break;
      default:
        one_ = k.dot;
        sign_ = -1;
    }
  }
  void set_query(const float* x) override { query_ = x; }
  float operator()(idx_t i) override { return sign_ * one_(query_, rows_.Row(i), rows_.dim); }
  float symmetric_dis(idx_t i, idx_t j) override { return sign_ * one_(rows_.Row(i), rows_.Row(j), rows_.dim); }

 private:
  const Rows& rows_;
  const float* query_ = nullptr;
  float (*one_)(const float*, const float*, size_t);
  float sign_ = 1;
};

}  // namespace

struct HnswBuild::State {
  BuildInput input;
  size_t threads;
  std::function<bool()> stopped;
  std::function<void(std::shared_ptr<HnswIndex>, std::string)> done;
  Rows rows;
  Bitset in_graph;
  size_t indexed = 0, strays = 0, chained = 0;
  Bitset chained_rows;                // of those in in_graph; with `back` and `ahead` as EqualChains has them
  std::vector<uint32_t> back, ahead;  // empty: nothing is chained
  std::vector<float> low, high;       // range of every dimension that codes cover
  std::unique_ptr<faiss::HNSW> graph;
  std::vector<omp_lock_t> locks;
  std::vector<uint32_t> order;        // rows, highest level first
  std::vector<size_t> level_ends;     // in `order`, for each level from the highest down

  std::mutex mutex;
  enum { kPrepare, kInsert, kRepack, kEnded } phase = kPrepare;
  bool preparing = false;
  size_t next = 0, level_at = 0, busy = 0, runners = 0;  // guarded by mutex
  std::vector<std::unique_ptr<faiss::VisitedTable>> tables;
  std::string error;

  ~State() {
    for (auto& lock : locks) omp_destroy_lock(&lock);
  }
};

HnswBuild::HnswBuild(const BuildInput& input, size_t threads, std::function<bool()> stopped)
    : state_(std::make_unique<State>()) {
  state_->input = input;
  state_->threads = std::max<size_t>(1, std::min(threads, Pool::Get().threads()));
  state_->stopped = std::move(stopped);
}
HnswBuild::~HnswBuild() = default;

void HnswBuild::Start(std::function<void(std::shared_ptr<HnswIndex>, std::string)> done) {
  state_->done = std::move(done);
  state_->runners = state_->threads;
  auto self = shared_from_this();
  for (size_t i = 0; i < state_->threads; i++) Pool::Get().PostLow([self] { return self->Slice(); });
}

void HnswBuild::Prepare() {
  State& s = *state_;
  const BuildInput& in = s.input;
  s.rows.dim = in.dimensions;
  s.rows.stride = (in.dimensions + 15) / 16 * 16;
  s.rows.metric = in.metric;
  s.rows.block = Block::Allocate(std::max<size_t>(1, in.rows * s.rows.stride * sizeof(float)));
  s.in_graph.Reset(in.rows, false);
  for (size_t i = 0; i < in.rows; i++) {
    if (in.validity && !TestByteBit(in.validity, i)) continue;
    const float* from = in.values + i * in.dimensions;
    double norm = 0;
    for (size_t d = 0; d < in.dimensions; d++) norm += static_cast<double>(from[d]) * from[d];
    if (!(norm < 1e37)) {
      s.strays++;
      continue;
    }
    if (in.metric == Metric::kCosine && !(norm > 0)) continue;
    float* to = s.rows.Row(i);
    double multiply = in.metric == Metric::kCosine ? 1 / std::sqrt(norm) : 1;
    for (size_t d = 0; d < in.dimensions; d++) to[d] = static_cast<float>(from[d] * multiply);
    s.in_graph.Set(i);
    s.indexed++;
  }

  s.strays += ChooseRanges(in.dimensions, in.rows, [&](size_t i, float*) { return s.rows.Row(i); }, &s.in_graph, &s.low, &s.high);
  s.indexed = s.in_graph.Count();

  // Of rows with equal bytes the first is a node. As they are in the column: normalised ones may be equal whose distances differ.
  EqualRows equal;
  s.chained_rows.Reset(in.rows, false);
  auto vector_of = [&](uint32_t i) { return in.values + static_cast<size_t>(i) * in.dimensions; };
  for (size_t i = 0; i < in.rows; i++) {
    if (!s.in_graph.Test(i)) continue;
    auto row = static_cast<uint32_t>(i);
    EqualRows::Entry* same = equal.FindOrAdd(row, vector_of(row), in.dimensions * sizeof(float), vector_of);
    if (!same) continue;
    if (s.chained++ == 0) {
      s.back.resize(in.rows, 0);
      s.ahead.resize(in.rows, 0);
    }
    s.chained_rows.Set(i);
    s.back[row] = row - same->first;
    s.ahead[same->last] = row - same->last;
    same->last = row;
  }
  rows_done_.fetch_add(s.chained, std::memory_order_relaxed);

  s.graph = std::make_unique<faiss::HNSW>(static_cast<int>(in.m));
  s.graph->efConstruction = static_cast<int>(in.ef_construction);
  s.graph->rng = faiss::RandomGenerator(12345);
  s.graph->prepare_level_tab(in.rows);
  s.locks.resize(in.rows);
  for (auto& lock : s.locks) omp_init_lock(&lock);

  size_t levels = 1;
  for (int level : s.graph->levels) levels = std::max<size_t>(levels, level);
  std::vector<std::vector<uint32_t>> by_level(levels);
  for (size_t i = 0; i < in.rows; i++) {
    if (s.in_graph.Test(i) && !s.chained_rows.Test(i)) by_level[s.graph->levels[i] - 1].push_back(static_cast<uint32_t>(i));
  }
  std::mt19937 random(789);
  for (size_t level = levels; level-- > 0;) {
    auto& rows = by_level[level];
    for (size_t i = rows.size(); i > 1; i--) std::swap(rows[i - 1], rows[random() % i]);
    s.order.insert(s.order.end(), rows.begin(), rows.end());
    s.level_ends.push_back(s.order.size());
  }
}

/** One turn of one thread. Returns false when this runner is not needed any more. */
bool HnswBuild::Slice() {
  State& s = *state_;
  std::unique_ptr<faiss::VisitedTable> table;
  std::unique_lock lock(s.mutex);
  // The first slice prepares alone; the others wait outside (they are queued again).
  if (s.phase == State::kPrepare) {
    if (s.preparing) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      return true;
    }
    s.preparing = true;
    lock.unlock();
    std::string error;
    try {
      Prepare();
    } catch (const std::exception& e) {
      error = e.what();
    }
    lock.lock();
    if (!error.empty()) s.error = error;
    s.phase = State::kInsert;
  }

  std::unique_ptr<RowDistance> distance;
  while (s.phase == State::kInsert && s.error.empty()) {
    if (aborted_ || s.stopped()) {
      s.error = "aborted";
      break;
    }
    if (s.next == s.order.size()) break;
    if (s.next == s.level_ends[s.level_at]) {
      if (s.busy > 0) {  // the level above is not in yet
        lock.unlock();
        std::this_thread::yield();
        lock.lock();
        if (Pool::Get().HighPending()) break;
        continue;
      }
      s.level_at++;
      continue;
    }
    // Small takes near the start, where every row matters to the next.
    size_t take = std::min<size_t>(s.level_ends[s.level_at] - s.next, s.next < 4096 ? 1 : 2);
    size_t begin = s.next;
    s.next += take;
    s.busy++;
    if (!table) {
      if (s.tables.empty()) {
        lock.unlock();
        try {
          table = std::make_unique<faiss::VisitedTable>(static_cast<int>(s.input.rows));
        } catch (const std::exception& e) {
          lock.lock();
          s.busy--;
          s.error = e.what();
          break;
        }
      } else {
        table = std::move(s.tables.back());
        s.tables.pop_back();
        lock.unlock();
      }
      distance = std::make_unique<RowDistance>(s.rows);
    } else {
      lock.unlock();
    }
    std::string error;
    try {
      for (size_t i = begin; i < begin + take; i++) {
        uint32_t row = s.order[i];
        distance->set_query(s.rows.Row(row));
        s.graph->add_with_locks(*distance, s.graph->levels[row] - 1, static_cast<int>(row), s.locks, *table);
      }
    } catch (const std::exception& e) {
      error = e.what();
    }
    rows_done_.fetch_add(take, std::memory_order_relaxed);
    lock.lock();
    s.busy--;
    if (!error.empty()) s.error = error;
    if (Pool::Get().HighPending()) break;
  }
  if (table) s.tables.push_back(std::move(table));
  bool finished = !s.error.empty() || s.next == s.order.size();
  if (!finished) return true;
  if (--s.runners > 0) return false;

  // The last runner.
  s.phase = State::kRepack;
  lock.unlock();
  std::shared_ptr<HnswIndex> index;
  std::string error = s.error;
  if (error.empty()) {
    try {
      index = Repack();
    } catch (const std::exception& e) {
      error = e.what();
    }
  }
  auto done = std::move(s.done);
  s.phase = State::kEnded;
  s.rows.block.reset();
  s.graph.reset();
  done(std::move(index), error);
  return false;
}

std::shared_ptr<HnswIndex> HnswBuild::Repack() {
  State& s = *state_;
  const BuildInput& in = s.input;
  faiss::HNSW& g = *s.graph;
  CodeLayout layout = MakeCodeLayout(in.metric, in.dimensions);
  bool all = s.indexed == in.rows;

  std::vector<uint32_t> upper_offsets(in.rows, kNoRow);
  uint64_t upper = 0;
  for (size_t i = 0; i < in.rows; i++) {
    if (!s.in_graph.Test(i) || s.chained_rows.Test(i) || g.levels[i] <= 1) continue;
    upper_offsets[i] = static_cast<uint32_t>(upper);
    upper += static_cast<uint64_t>(g.levels[i] - 1) * in.m;
  }
  if (upper >= kNoRow) throw NativeError("54000", "hnsw index is too large");

  HnswHeader h{};
  std::memcpy(h.magic, "ELNSHNSW", 8);
  h.version = kHnswVersion;
  h.header_size = kHnswHeaderSize;
  h.row_count = in.rows;
  h.dimensions = static_cast<uint32_t>(in.dimensions);
  h.metric = static_cast<uint32_t>(in.metric);
  h.m = static_cast<uint32_t>(in.m);
  h.ef_construction = static_cast<uint32_t>(in.ef_construction);
  h.entry_point = s.indexed ? static_cast<uint32_t>(g.entry_point) : kNoRow;
  h.max_level = s.indexed ? static_cast<uint32_t>(g.max_level) : 0;
  h.code_stride = static_cast<uint32_t>(layout.stride);
  h.code_padded = static_cast<uint32_t>(layout.padded);
  h.indexed_count = s.indexed;
  h.chained_count = static_cast<uint32_t>(s.chained);
  h.stray_count = static_cast<uint32_t>(s.strays);
  const HnswSizes sizes{{8 * uint64_t{in.dimensions}, in.rows * layout.stride, in.rows * in.m * 8, in.rows * 4, upper * 4,
                         all ? 0 : WordsFor(in.rows) * 8, s.chained ? EqualChains::SizeFor(in.rows) : 0}};
  auto block = AllocateIndex(sizes, &h);
  uint8_t* base = block->data();

  auto* middle = reinterpret_cast<float*>(base + h.sections[kQuantizer].offset);
  float* step = middle + in.dimensions;
  FillSteps(in.metric, s.low, s.high, middle, step);
  Quantizer quantizer(in.metric, layout, middle, step, 0);
  uint8_t* codes = base + h.sections[kCodes].offset;
  auto* base_links = reinterpret_cast<uint32_t*>(base + h.sections[kBaseLinks].offset);
  auto* upper_links = reinterpret_cast<uint32_t*>(base + h.sections[kUpperLinks].offset);
  std::memcpy(base + h.sections[kUpperOffsets].offset, upper_offsets.data(), in.rows * 4);
  if (!all) std::memcpy(base + h.sections[kInGraph].offset, s.in_graph.data(), s.in_graph.words() * 8);
  if (s.chained) {
    uint8_t* to = base + h.sections[kEqualRows].offset;
    size_t bits = s.chained_rows.words() * 8;
    std::memcpy(to, s.chained_rows.data(), bits);
    std::memcpy(to + bits, s.back.data(), in.rows * 4);
    std::memcpy(to + bits + in.rows * 4, s.ahead.data(), in.rows * 4);
  }
  size_t degree = 2 * in.m;
  float residual = 0;
  auto copy_links = [&](uint32_t row, int level, uint32_t* to, size_t width) {
    size_t begin, end, n = 0;
    g.neighbor_range(row, level, &begin, &end);
    for (size_t j = begin; j < end && n < width; j++) {
      if (g.neighbors[j] < 0) break;
      to[n++] = static_cast<uint32_t>(g.neighbors[j]);
    }
    while (n < width) to[n++] = kNoRow;
  };
  for (size_t i = 0; i < in.rows; i++) {
    if (!s.in_graph.Test(i)) {
      std::fill_n(base_links + i * degree, degree, kNoRow);
      continue;
    }
    residual = std::max(residual, quantizer.Encode(s.rows.Row(i), codes + i * layout.stride));
    if (s.chained_rows.Test(i)) {  // its code is for scans
      std::fill_n(base_links + i * degree, degree, kNoRow);
      continue;
    }
    copy_links(static_cast<uint32_t>(i), 0, base_links + i * degree, degree);
    for (int level = 1; level < g.levels[i]; level++) {
      copy_links(static_cast<uint32_t>(i), level, upper_links + upper_offsets[i] + (level - 1) * in.m, in.m);
    }
  }
  h.residual = residual * 1.001f;
  return HnswIndex::Finish(std::move(block), h);
}

}  // namespace elanus
