#include "hnsw/interim.h"

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/HNSW.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "hnsw/equal-rows.h"
#include "kernels/kernels.h"

namespace elanus {

/** What searches walk. Written by the extending thread alone; rows that a link can lead to do not change but in their links. */
struct InterimStore {
  size_t capacity = 0, upper_capacity = 0;
  size_t upper_used = 0;  // extending thread only
  CodeLayout layout{};
  std::vector<float> middle, step;
  std::unique_ptr<Quantizer> quantizer;
  /** Rows that codes describe worse are not in the graph. */
  float residual_most = 0;
  std::unique_ptr<Block> codes, base_links, upper_offsets, upper_links, in_graph;
  /** EqualChains; pages of them that nothing is chained in are not taken. */
  std::unique_ptr<Block> chained_rows, back, ahead;
  /** max level << 32 | entry point. */
  std::atomic<uint64_t> entry{kNoRow};
  std::atomic<size_t> rows{0}, indexed{0}, strays{0}, chained{0};

  uint8_t* Code(size_t row) const { return codes->data() + row * layout.stride; }
  uint32_t* Base(size_t row, size_t degree) const { return reinterpret_cast<uint32_t*>(base_links->data()) + row * degree; }
  uint32_t* UpperOffsets() const { return reinterpret_cast<uint32_t*>(upper_offsets->data()); }
  uint32_t* Upper() const { return reinterpret_cast<uint32_t*>(upper_links->data()); }
  uint64_t* InGraph() const { return reinterpret_cast<uint64_t*>(in_graph->data()); }
  uint64_t* Chained() const { return reinterpret_cast<uint64_t*>(chained_rows->data()); }
  uint32_t* Back() const { return reinterpret_cast<uint32_t*>(back->data()); }
  uint32_t* Ahead() const { return reinterpret_cast<uint32_t*>(ahead->data()); }
  void CopyChains(const InterimStore& from, size_t rows) {
    chained = from.chained.load();
    if (chained == 0) return;
    std::memcpy(Chained(), from.Chained(), WordsFor(rows) * 8);
    std::memcpy(Back(), from.Back(), rows * 4);
    std::memcpy(Ahead(), from.Ahead(), rows * 4);
  }
  size_t memory() const {
    return codes->size() + base_links->size() + upper_offsets->size() + upper_links->size() + in_graph->size();
  }
};

namespace {

constexpr size_t kCapacityLeast = 4096;
/** Ranges are made wider than the rows seen so far need, by this part of their width on each side: others will come. */
constexpr float kMargin = 0.125f;

class ColumnDistance final : public faiss::DistanceComputer {
 public:
  ColumnDistance(const float* values, size_t dim, Metric metric, const float* inverse)
      : values_(values), inverse_(inverse), dim_(dim) {
    const Kernels& k = Kernels::Get();
    one_ = metric == Metric::kL2 ? k.l2 : metric == Metric::kL1 ? k.l1 : k.dot;
    dot_ = metric == Metric::kInner || metric == Metric::kCosine;
  }
  void SetRow(uint32_t row) {
    query_ = Row(row);
    query_inverse_ = inverse_ ? inverse_[row] : 1;
  }
  void set_query(const float* x) override { query_ = x; }
  float operator()(idx_t i) override { return Scaled(one_(query_, Row(i), dim_), i, query_inverse_); }
  float symmetric_dis(idx_t i, idx_t j) override {
    return Scaled(one_(Row(i), Row(j), dim_), i, inverse_ ? inverse_[j] : 1);
  }

 private:
  const float* Row(idx_t i) const { return values_ + static_cast<size_t>(i) * dim_; }
  float Scaled(float value, idx_t i, float other) const {
    if (!dot_) return value;
    return inverse_ ? -value * inverse_[i] * other : -value;
  }
  const float* values_;
  const float* inverse_;
  size_t dim_;
  const float* query_ = nullptr;
  float query_inverse_ = 1;
  float (*one_)(const float*, const float*, size_t);
  bool dot_;
};

}  // namespace

struct InterimIndex::Builder {
  explicit Builder(const Options& options) : graph(static_cast<int>(options.m)) {
    graph.efConstruction = static_cast<int>(options.ef_construction);
    graph.rng = faiss::RandomGenerator(12345);
  }
  ~Builder() {
    for (auto& lock : locks) omp_destroy_lock(&lock);
  }
  faiss::HNSW graph;
  std::vector<omp_lock_t> locks;
  std::unique_ptr<faiss::VisitedTable> table;
  /** cosine: 1 / length; 0 for rows that have none. */
  std::vector<float> inverse;
  std::vector<uint32_t> strays;
  EqualRows equal;
  /** Strays that the newest ranges cover: to be inserted. */
  std::vector<uint32_t> waiting;
  size_t strays_most = 64;
  Source source{};
  std::unique_ptr<ColumnDistance> distance;
  std::vector<float> room;
};

InterimIndex::InterimIndex(const Options& options) : options_(options), builder_(std::make_unique<Builder>(options)) {
  builder_->room.resize(options.dimensions);
}
InterimIndex::~InterimIndex() = default;

const float* InterimIndex::InIndexSpace(size_t row, float* room) const {
  const float* from = builder_->source.values + row * options_.dimensions;
  if (options_.metric != Metric::kCosine) return from;
  float inverse = builder_->inverse[row];
  for (size_t d = 0; d < options_.dimensions; d++) room[d] = from[d] * inverse;
  return room;
}

std::shared_ptr<InterimStore> InterimIndex::MakeStore(size_t capacity) const {
  auto store = std::make_shared<InterimStore>();
  store->capacity = capacity;
  // Of n rows about n / (m - 1) links' worth of upper levels are expected.
  store->upper_capacity = capacity * 3 + 64 * options_.m;
  store->layout = MakeCodeLayout(options_.metric, options_.dimensions);
  store->codes = Block::Allocate(capacity * store->layout.stride);
  store->base_links = Block::Allocate(capacity * options_.m * 8);
  store->upper_offsets = Block::Allocate(capacity * 4);
  store->upper_links = Block::Allocate(store->upper_capacity * 4);
  store->in_graph = Block::Allocate(WordsFor(capacity) * 8);
  store->chained_rows = Block::Allocate(WordsFor(capacity) * 8);
  store->back = Block::Allocate(capacity * 4);
  store->ahead = Block::Allocate(capacity * 4);
  return store;
}

void InterimIndex::Replace(std::shared_ptr<InterimStore> store) {
  memory_ = store->memory();
  std::lock_guard lock(mutex_);
  published_ = std::move(store);
}

/** The same ranges in twice the room. */
void InterimIndex::Enlarge() {
  const InterimStore& from = *published_;
  auto to = MakeStore(from.capacity * 2);
  size_t rows = from.rows;
  to->middle = from.middle;
  to->step = from.step;
  to->residual_most = from.residual_most;
  to->quantizer = std::make_unique<Quantizer>(options_.metric, to->layout, to->middle.data(), to->step.data(), to->residual_most);
  std::memcpy(to->codes->data(), from.codes->data(), rows * from.layout.stride);
  std::memcpy(to->base_links->data(), from.base_links->data(), rows * options_.m * 8);
  std::memcpy(to->upper_offsets->data(), from.upper_offsets->data(), rows * 4);
  std::memcpy(to->upper_links->data(), from.upper_links->data(), from.upper_used * 4);
  std::memcpy(to->in_graph->data(), from.in_graph->data(), WordsFor(rows) * 8);
  to->CopyChains(from, rows);
  to->upper_used = from.upper_used;
  to->entry = from.entry.load();
  to->rows = rows;
  to->indexed = from.indexed.load();
  to->strays = from.strays.load();
  Replace(std::move(to));
}

/** New ranges, from the first `rows` rows; what is in the graph is encoded again, strays that are covered now wait to go in. */
void InterimIndex::Rerange(size_t rows) {
  Builder& b = *builder_;
  size_t known = published_ ? published_->rows.load() : 0;
  size_t capacity = published_ ? published_->capacity : kCapacityLeast;
  while (capacity < rows) capacity *= 2;
  auto to = MakeStore(capacity);
  Bitset with(rows);
  for (size_t i = 0; i < rows; i++) {
    if (b.source.validity && !TestByteBit(b.source.validity, i)) continue;
    const float* from = b.source.values + i * options_.dimensions;
    double norm = 0;
    for (size_t d = 0; d < options_.dimensions; d++) norm += static_cast<double>(from[d]) * from[d];
    if (!(norm < 1e37) || (options_.metric == Metric::kCosine && !(norm > 0))) continue;
    with.Set(i);
  }
  std::vector<float> low, high;
  ChooseRanges(options_.dimensions, rows, [this](size_t i, float* room) { return InIndexSpace(i, room); }, &with, &low, &high);
  for (size_t d = 0; d < low.size(); d++) {
    float more = (high[d] - low[d]) * kMargin;
    low[d] -= more;
    high[d] += more;
  }
  // Rows in the graph stay there, wherever they lie: the ranges cover them.
  for (size_t i = 0; i < known; i++) {
    if (!TestBit(published_->InGraph(), i)) continue;
    const float* row = InIndexSpace(i, b.room.data());
    for (size_t d = 0; d < low.size(); d++) {
      low[d] = std::min(low[d], row[d]);
      high[d] = std::max(high[d], row[d]);
    }
  }
  to->middle.resize(low.size());
  to->step.resize(low.size());
  FillSteps(options_.metric, low, high, to->middle.data(), to->step.data());
  double most = 0;
  for (float step : to->step) most += options_.metric == Metric::kL1 ? step / 2.0 : step * 0.25 * step;
  // A row inside of the ranges is off by half a step at most in each dimension; a little outside does no harm.
  to->residual_most = static_cast<float>((options_.metric == Metric::kL1 ? most : std::sqrt(most)) * 1.25);
  to->quantizer = std::make_unique<Quantizer>(options_.metric, to->layout, to->middle.data(), to->step.data(), to->residual_most);
  if (published_) {
    const InterimStore& from = *published_;
    for (size_t i = 0; i < known; i++) {
      if (TestBit(from.InGraph(), i)) to->quantizer->Encode(InIndexSpace(i, b.room.data()), to->Code(i));
    }
    std::memcpy(to->base_links->data(), from.base_links->data(), known * options_.m * 8);
    std::memcpy(to->upper_offsets->data(), from.upper_offsets->data(), known * 4);
    std::memcpy(to->upper_links->data(), from.upper_links->data(), from.upper_used * 4);
    std::memcpy(to->in_graph->data(), from.in_graph->data(), WordsFor(known) * 8);
    to->CopyChains(from, known);
    to->upper_used = from.upper_used;
    to->entry = from.entry.load();
    to->rows = known;
    to->indexed = from.indexed.load();
    to->strays = from.strays.load();
  }
  Replace(std::move(to));
  // Taken from the back: the first row first, so that chains are in row order.
  b.waiting.assign(b.strays.rbegin(), b.strays.rend());
  b.strays.clear();
}

/** Prepares what Insert needs for rows below `rows`. */
void InterimIndex::Begin(const Source& source, size_t rows) {
  Builder& b = *builder_;
  size_t known = b.graph.offsets.size() - 1;
  b.source = source;
  if (options_.metric == Metric::kCosine) {
    size_t from = b.inverse.size();
    b.inverse.resize(std::max(from, rows), 0);
    for (size_t i = from; i < rows; i++) {
      if (source.validity && !TestByteBit(source.validity, i)) continue;
      const float* row = source.values + i * options_.dimensions;
      double norm = 0;
      for (size_t d = 0; d < options_.dimensions; d++) norm += static_cast<double>(row[d]) * row[d];
      if (norm > 0 && norm < 1e37) b.inverse[i] = static_cast<float>(1 / std::sqrt(norm));
    }
  }
  if (rows > known) {
    b.graph.prepare_level_tab(rows - known);
    size_t locks = b.locks.size();
    b.locks.resize(rows);
    for (size_t i = locks; i < rows; i++) omp_init_lock(&b.locks[i]);
    if (!b.table || b.table->visited.size() < rows) {
      b.table = std::make_unique<faiss::VisitedTable>(static_cast<int>(std::max(rows * 2, kCapacityLeast)));
    }
  }
  b.distance = std::make_unique<ColumnDistance>(source.values, options_.dimensions, options_.metric,
                                                options_.metric == Metric::kCosine ? b.inverse.data() : nullptr);
  if (!published_) Rerange(rows);
}

bool InterimIndex::Extend(const Source& source, size_t rows, const std::function<bool()>& yield) {
  Builder& b = *builder_;
  if (rows <= rows_ && b.waiting.empty()) return false;
  Begin(source, std::max<size_t>(rows, rows_));
  for (;;) {
    if (published_->upper_used + 64 * options_.m > published_->upper_capacity) Enlarge();
    if (!b.waiting.empty()) {
      uint32_t row = b.waiting.back();
      b.waiting.pop_back();
      Insert(row);
      published_->strays--;  // or counted again
    } else if (rows_ < rows) {
      if (b.strays.size() > b.strays_most) {
        Rerange(rows);
        // What is outside even now stays outside; so this gets rarer.
        b.strays_most = std::max(b.strays_most * 2, rows_ / 50);
        continue;
      }
      auto row = static_cast<uint32_t>(rows_);
      if (row == published_->capacity) Enlarge();
      Insert(row);
      published_->rows.store(row + 1, std::memory_order_release);
      rows_.store(row + 1, std::memory_order_release);
    } else {
      return false;
    }
    if (yield()) return true;
  }
}

void InterimIndex::Insert(uint32_t row) {
  Builder& b = *builder_;
  InterimStore& store = *published_;
  store.UpperOffsets()[row] = kNoRow;
  uint32_t* base = store.Base(row, 2 * options_.m);
  std::fill_n(base, 2 * options_.m, kNoRow);
  if (b.source.validity && !TestByteBit(b.source.validity, row)) return;
  const float* values = b.source.values + static_cast<size_t>(row) * options_.dimensions;
  double norm = 0;
  for (size_t d = 0; d < options_.dimensions; d++) norm += static_cast<double>(values[d]) * values[d];
  if (options_.metric == Metric::kCosine && norm == 0) return;
  if (!(norm < 1e37) || (options_.metric == Metric::kCosine && b.inverse[row] == 0)) {
    store.strays++;  // for good
    return;
  }
  float off = store.quantizer->Encode(InIndexSpace(row, b.room.data()), store.Code(row));
  if (!(off <= store.residual_most)) {
    store.strays++;
    b.strays.push_back(row);
    return;
  }
  auto vector_of = [&](uint32_t i) { return b.source.values + static_cast<size_t>(i) * options_.dimensions; };
  if (EqualRows::Entry* same = b.equal.FindOrAdd(row, values, options_.dimensions * sizeof(float), vector_of)) {
    store.Back()[row] = row - same->first;
    __atomic_fetch_or(store.Chained() + row / 64, uint64_t{1} << (row % 64), __ATOMIC_RELEASE);
    __atomic_store_n(store.Ahead() + same->last, row - same->last, __ATOMIC_RELEASE);
    same->last = row;
    store.chained.fetch_add(1, std::memory_order_release);
    __atomic_fetch_or(store.InGraph() + row / 64, uint64_t{1} << (row % 64), __ATOMIC_RELEASE);
    store.indexed.fetch_add(1, std::memory_order_release);
    return;
  }
  int levels = b.graph.levels[row];
  if (levels > 1) {
    store.UpperOffsets()[row] = static_cast<uint32_t>(store.upper_used);
    std::fill_n(store.Upper() + store.upper_used, static_cast<size_t>(levels - 1) * options_.m, kNoRow);
    store.upper_used += static_cast<size_t>(levels - 1) * options_.m;
  }
  b.distance->SetRow(row);
  b.graph.add_with_locks(*b.distance, levels - 1, static_cast<int>(row), b.locks, *b.table);
  Publish(row);
}

/** The row's own lists first, then those of the rows that lead to it. */
void InterimIndex::Publish(uint32_t row) {
  const faiss::HNSW& g = builder_->graph;
  InterimStore& store = *published_;
  auto copy = [&](uint32_t of, int level) {
    size_t begin, end, n = 0, width = level == 0 ? 2 * options_.m : options_.m;
    g.neighbor_range(of, level, &begin, &end);
    uint32_t* to = level == 0 ? store.Base(of, width) : store.Upper() + store.UpperOffsets()[of] + static_cast<size_t>(level - 1) * width;
    for (size_t j = begin; j < end && n < width && g.neighbors[j] >= 0; j++) {
      __atomic_store_n(to + n++, static_cast<uint32_t>(g.neighbors[j]), __ATOMIC_RELEASE);
    }
    while (n < width) __atomic_store_n(to + n++, kNoRow, __ATOMIC_RELEASE);
  };
  int levels = g.levels[row];
  for (int level = 0; level < levels; level++) copy(row, level);
  __atomic_fetch_or(store.InGraph() + row / 64, uint64_t{1} << (row % 64), __ATOMIC_RELEASE);
  store.indexed.fetch_add(1, std::memory_order_release);
  for (int level = 0; level < levels; level++) {
    size_t begin, end;
    g.neighbor_range(row, level, &begin, &end);
    for (size_t j = begin; j < end && g.neighbors[j] >= 0; j++) copy(static_cast<uint32_t>(g.neighbors[j]), level);
  }
  uint64_t entry = static_cast<uint64_t>(g.max_level) << 32 | static_cast<uint32_t>(g.entry_point);
  if (store.entry.load(std::memory_order_relaxed) != entry) store.entry.store(entry, std::memory_order_release);
}

InterimIndex::View InterimIndex::Look(size_t rows) const {
  View view;
  {
    std::lock_guard lock(mutex_);
    view.store = published_;
  }
  if (!view.store) return view;
  const InterimStore& store = *view.store;
  HnswGraph& graph = view.graph;
  size_t done = store.rows.load(std::memory_order_acquire);
  uint64_t entry = store.entry.load(std::memory_order_acquire);
  size_t limit = std::min(rows, done);
  graph.quantizer_ = store.quantizer.get();
  graph.entry_point_ = static_cast<uint32_t>(entry);
  graph.max_level_ = graph.entry_point_ == kNoRow ? 0 : static_cast<uint32_t>(entry >> 32);
  // The way in may lie beyond what this search may see: rare (as many times as there are levels), and only for a moment.
  if (graph.entry_point_ != kNoRow && graph.entry_point_ >= limit) return view;
  graph.rows_ = limit;
  graph.indexed_ = std::min(store.indexed.load(std::memory_order_acquire), limit);
  // Rows of this search that are chained were counted before store.rows said that they are in.
  if (size_t chained = store.chained.load(std::memory_order_acquire); chained > 0) {
    graph.chained_ = std::min(chained, graph.indexed_ > 0 ? graph.indexed_ - 1 : 0);
    graph.chains_ = {store.Chained(), store.Back(), store.Ahead()};
  }
  graph.strays_ = store.strays.load(std::memory_order_acquire);
  graph.stride_ = store.layout.stride;
  graph.m_ = options_.m;
  graph.base_degree_ = 2 * options_.m;
  graph.upper_size_ = store.upper_capacity;
  graph.codes_ = store.codes->data();
  graph.base_links_ = reinterpret_cast<const uint32_t*>(store.base_links->data());
  graph.upper_offsets_ = store.UpperOffsets();
  graph.upper_links_ = store.Upper();
  graph.in_graph_ = store.InGraph();
  return view;
}

std::shared_ptr<HnswIndex> InterimIndex::Copy() const {
  if (!published_) throw NativeError("XX000", "the graph has no rows");
  const InterimStore& store = *published_;
  size_t rows = store.rows, indexed = store.indexed;
  bool all = indexed == rows;
  uint64_t entry = store.entry;
  HnswHeader h{};
  std::memcpy(h.magic, "ELNSHNSW", 8);
  h.version = kHnswVersion;
  h.header_size = kHnswHeaderSize;
  h.row_count = rows;
  h.dimensions = static_cast<uint32_t>(options_.dimensions);
  h.metric = static_cast<uint32_t>(options_.metric);
  h.m = static_cast<uint32_t>(options_.m);
  h.ef_construction = static_cast<uint32_t>(options_.ef_construction);
  h.entry_point = static_cast<uint32_t>(entry);
  h.max_level = h.entry_point == kNoRow ? 0 : static_cast<uint32_t>(entry >> 32);
  h.code_stride = static_cast<uint32_t>(store.layout.stride);
  h.code_padded = static_cast<uint32_t>(store.layout.padded);
  h.indexed_count = indexed;
  size_t chained = store.chained;
  h.chained_count = static_cast<uint32_t>(chained);
  h.stray_count = static_cast<uint32_t>(store.strays.load());
  h.residual = store.residual_most;
  const HnswSizes sizes{{8 * uint64_t{options_.dimensions}, rows * store.layout.stride, rows * options_.m * 8, rows * 4,
                         store.upper_used * 4, all ? 0 : WordsFor(rows) * 8, chained ? EqualChains::SizeFor(rows) : 0}};
  auto block = AllocateIndex(sizes, &h);
  const uint8_t* from[kEqualRows] = {nullptr, store.codes->data(), store.base_links->data(), store.upper_offsets->data(),
                                        store.upper_links->data(), store.in_graph->data()};
  auto* parameters = reinterpret_cast<float*>(block->data() + h.sections[kQuantizer].offset);
  std::copy(store.middle.begin(), store.middle.end(), parameters);
  std::copy(store.step.begin(), store.step.end(), parameters + options_.dimensions);
  for (int i = kCodes; i < kEqualRows; i++) std::memcpy(block->data() + h.sections[i].offset, from[i], sizes.of[i]);
  if (chained) {
    uint8_t* to = block->data() + h.sections[kEqualRows].offset;
    size_t bits = WordsFor(rows) * 8;
    std::memcpy(to, store.Chained(), bits);
    std::memcpy(to + bits, store.Back(), rows * 4);
    std::memcpy(to + bits + rows * 4, store.Ahead(), rows * 4);
  }
  return HnswIndex::Finish(std::move(block), h);
}

}  // namespace elanus
