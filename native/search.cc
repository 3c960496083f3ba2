// One search: all segments in one job, hits merged. Per segment
//
//   1. filter, visibility, `allowed` → passing rows (skipped when every row passes)
//   2. a plan: nothing passes → empty; no index, mode exact, or few passing → exact; else the graph (hnsw/search.cc)
//   3. candidates of the graph get their final distance from the column; exact scans give final ones themselves
//   4. fewer hits than there must be (a graph may be cut in parts) → exact
#include <algorithm>
#include <cmath>

#include "hnsw/search.h"
#include "kernels/kernels.h"
#include "request.h"
#include "scan.h"

namespace elanus {
namespace {

/** Beyond this k codes are no help: nearly every row would be computed again. */
constexpr size_t kCodesMost = 4000;

enum class Strategy : uint8_t { kIndex, kExact, kEmpty };

class SearchJob final : public Job {
 public:
  Request request;
  int attnum = 0;
  Metric metric = Metric::kL2;
  std::vector<float> query;
  size_t k = 0, ef = 0;
  bool exact = false, inline_run = false;

  void Run() override {
    filter_ = DecodeFilter(request);
    pg_ = MakePgQuery(metric, query.data(), query.size());
    TopK top(k);
    size_t count = request.segments.size();
    strategies_.assign(count, Strategy::kEmpty);
    passing_.assign(count, 0);
    visited_.assign(count, 0);
    for (size_t i = 0; i < count; i++) SearchSegment(static_cast<uint32_t>(i), &top);
    hits_ = top.Sorted();
  }

  Napi::Value Complete(Napi::Env env) override;

 private:
  void SearchSegment(uint32_t number, TopK* top);
  /** What the graph's rows are checked against. */
  struct Among {
    /** nullptr: all rows. */
    const Bitset* passing = nullptr;
    size_t count = 0;
    /** With all rows walked through: hits are those visible here. */
    const Timestamps* visible = nullptr;
  };
  bool SearchIndex(uint32_t number, const Column& column, const HnswGraph& index, const Among& among, TopK* top);
  bool SearchInterim(uint32_t number, const Column& column, const HnswGraph& graph, TopK* top);

  Filter filter_;
  PgQuery pg_{};
  std::vector<Hit> hits_;
  std::vector<Strategy> strategies_;
  std::vector<uint32_t> passing_, visited_;
};

const HnswIndex* IndexFor(const SegmentState& state, int attnum, Metric metric) {
  for (auto& slot : state.indexes) {
    if (slot.attnum == attnum && slot.index->metric() == metric) return slot.index.get();
  }
  return nullptr;
}

const InterimIndex* InterimFor(const SegmentState& state, int attnum, Metric metric) {
  for (auto& slot : state.interims) {
    if (slot.attnum == attnum && slot.index->metric() == metric) return slot.index.get();
  }
  return nullptr;
}

/** Whether nearly all of the first `rows` rows are visible: a look at some of them. */
bool MostVisible(const Timestamps& timestamps, size_t rows, double at) {
  constexpr size_t kLooks = 64, kHiddenMost = 3;
  size_t hidden = 0;
  for (size_t i = 0; i < kLooks; i++) hidden += !timestamps.Visible(rows * i / kLooks, at);
  return hidden <= kHiddenMost;
}

void SearchJob::SearchSegment(uint32_t number, TopK* top) {
  const RequestSegment& part = request.segments[number];
  if (part.rows == 0) return;
  const Column& column = ColumnFor(part, attnum);
  if (column.kind != Kind::kVector) throw NativeError("XX000", "column is not a vector");
  if (column.width != query.size()) {
    throw NativeError("22000", "different vector dimensions " + std::to_string(column.width) + " and " +
                                   std::to_string(query.size()));
  }
  if (!exact) {
    if (const InterimIndex* interim = InterimFor(*part.state, attnum, metric)) {
      InterimIndex::View view = interim->Look(part.rows);
      if (view.graph.rows() > 0 && view.graph.dimensions() == query.size() && k > 0 &&
          SearchInterim(number, column, view.graph, top)) {
        return;
      }
    }
  }
  Bitset passing;
  size_t count = 0;
  bool all = PassingRows(*part.state, part.rows, request.read_at, filter_, part.allowed, &passing, &count);
  passing_[number] = static_cast<uint32_t>(count);
  if (count == 0 || k == 0) return;

  const HnswIndex* index = exact ? nullptr : IndexFor(*part.state, attnum, metric);
  // An index over other rows than are asked for is of no use (it is built over a sealed segment's rows).
  if (index && (index->rows() != part.rows || index->dimensions() != query.size())) index = nullptr;
  if (index && SearchIndex(number, column, *index, {all ? nullptr : &passing, count, nullptr}, top)) return;

  strategies_[number] = Strategy::kExact;
  ScanInput scan{&column, &pg_, number, all ? nullptr : passing.data(), part.rows, !inline_run};
  visited_[number] += static_cast<uint32_t>(ScanColumn(scan, top));
}

/**
 * A growing segment: the graph over its first rows, a scan of the others. Where nearly all rows are visible, the graph is walked
 * as if all were, and hits are looked at one by one: the timestamps of all rows cost as much to read as the walk.
 * Returns false when everything must be scanned.
 */
bool SearchJob::SearchInterim(uint32_t number, const Column& column, const HnswGraph& graph, TopK* top) {
  const RequestSegment& part = request.segments[number];
  const Timestamps* timestamps = part.state->timestamps.get();
  size_t covered = graph.rows();
  Bitset passing;
  size_t count = 0;
  if (filter_.empty() && !part.allowed && timestamps && MostVisible(*timestamps, covered, request.read_at) &&
      SearchIndex(number, column, graph, {nullptr, covered, timestamps}, top)) {
    passing.Reset(part.rows, false);
    size_t from = covered / 64 * 64;
    Kernels::Get().visible(timestamps->inserted + from, timestamps->deleted + from, part.rows - from, request.read_at,
                           passing.data() + from / 64);
    passing_[number] = static_cast<uint32_t>(part.rows);  // at most
  } else {
    if (PassingRows(*part.state, part.rows, request.read_at, filter_, part.allowed, &passing, &count)) {
      passing.Reset(part.rows, true);
    }
    passing_[number] = static_cast<uint32_t>(count);
    if (count == 0) return true;
    Bitset first(covered);
    std::copy_n(passing.data(), first.words(), first.data());
    first.Trim();
    size_t reachable = first.Count();
    if (reachable > 0 && !SearchIndex(number, column, graph, {&first, reachable, nullptr}, top)) return false;
    if (reachable == 0) strategies_[number] = Strategy::kExact;
  }
  if (covered < part.rows) {
    ScanInput scan{&column, &pg_, number, passing.data(), part.rows, !inline_run, covered};
    visited_[number] += static_cast<uint32_t>(ScanColumn(scan, top));
  }
  return true;
}

/** Returns false when the segment must be scanned instead. */
bool SearchJob::SearchIndex(uint32_t number, const Column& column, const HnswGraph& index, const Among& among, TopK* top) {
  const Bitset* passing = among.passing;
  if (metric == Metric::kCosine && !(pg_.norm > 0)) {  // every distance is NaN
    strategies_[number] = Strategy::kExact;
    return true;
  }
  // Rows that are in the graph, and the few that have a distance and are not.
  Bitset narrowed;
  const Bitset* candidates = passing;
  size_t reachable = index.indexed();
  if (passing && index.in_graph()) {
    narrowed = *passing;
    for (size_t w = 0; w < narrowed.words(); w++) narrowed.data()[w] &= index.in_graph()[w];
    candidates = &narrowed;
    reachable = narrowed.Count();
  } else if (passing) {
    reachable = among.count;
  }
  // Only where the graph is used: a scan of the whole column meets them anyway.
  auto add_strays = [&] {
    if (index.strays() == 0) return;
    Bitset strays = passing ? *passing : Bitset(index.rows(), true);
    for (size_t w = 0; w < strays.words(); w++) strays.data()[w] &= ~index.in_graph()[w];
    if (among.visible) {
      ForEachBit(strays.data(), 0, strays.size(), [&](size_t row) {
        if (!among.visible->Visible(row, request.read_at)) strays.Clear(row);
      });
    }
    ScanInput scan{&column, &pg_, number, strays.data(), index.rows(), false};
    visited_[number] += static_cast<uint32_t>(ScanColumn(scan, top));
  };
  if (reachable == 0) {
    if (among.visible) return false;
    add_strays();
    strategies_[number] = Strategy::kExact;
    return true;
  }

  static thread_local std::vector<float> space;
  static thread_local CodeQuery code;
  static thread_local std::vector<Candidate> found;
  if (k > kCodesMost) return false;
  index.ToIndexSpace(query.data(), &space);
  code.Prepare(index.quantizer(), space.data());
  auto scan_codes = [&] {
    Bitset every;
    const uint64_t* bits = candidates ? candidates->data() : index.in_graph();
    if (!bits) {
      every.Reset(index.rows(), true);
      bits = every.data();
    }
    strategies_[number] = Strategy::kExact;
    ScanInput scan{&column, &pg_, number, bits, index.rows(), false};
    visited_[number] += static_cast<uint32_t>(ScanCodes(scan, index, code, top));
    add_strays();
    return true;
  };
  size_t beam = std::max(ef, k);
  if (PrefersScan(index, reachable, candidates == nullptr, k, beam)) return among.visible ? false : scan_codes();

  found.clear();
  GraphQuery graph;
  graph.code = &code;
  graph.k = k;
  graph.ef = among.visible ? beam + beam / 10 : beam;
  Bitset nodes;
  const bool chains = index.has_chains();
  if (candidates && chains) index.ToNodes(*candidates, &nodes);
  graph.passing = !candidates ? nullptr : chains ? nodes.data() : candidates->data();
  graph.passing_count = candidates && chains ? nodes.Count() : reachable;
  graph.passing_rows = reachable;
  size_t visited = 0;
  GraphOutcome outcome = SearchGraph(index, graph, &found, &visited);
  visited_[number] += static_cast<uint32_t>(visited);
  // Calls f with the first `most` rows of a node that are wanted, in row order; how many they were.
  auto rows_of = [&](uint32_t node, size_t most, auto f) {
    size_t n = 0;
    for (uint32_t row = node; row != kNoRow && n < most; row = index.NextEqual(row)) {
      if (candidates && !candidates->Test(row)) continue;
      if (among.visible && !among.visible->Visible(row, request.read_at)) continue;
      f(row);
      n++;
    }
    return n;
  };
  auto ignore = [](uint32_t) {};
  if (among.visible) {
    std::erase_if(found, [&](const Candidate& c) {
      return chains ? rows_of(c.row, 1, ignore) == 0 : !among.visible->Visible(c.row, request.read_at);
    });
  }
  size_t hits = found.size();
  if (chains && hits < k) {
    hits = 0;
    for (size_t i = 0; i < found.size() && hits < k; i++) hits += rows_of(found[i].row, k - hits, ignore);
  }
  if (among.visible && (outcome == GraphOutcome::kScanCodes || hits < k)) return false;
  if (outcome == GraphOutcome::kScanCodes || hits < std::min(k, reachable)) return scan_codes();
  // Codes order nearly right: of the nearest of them, the final distances are taken.
  if (size_t rerank = std::max<size_t>(30, k + k / 2 + 10); found.size() > rerank) found.resize(rerank);
  const float* rows[32];
  double distances[32];
  for (size_t i = 0; i < found.size(); i += 32) {
    size_t n = std::min<size_t>(32, found.size() - i);
    for (size_t j = 0; j < n; j++) {
      rows[j] = column.Vector(found[i + j].row);
      for (size_t b = 0; b < std::min<size_t>(query.size() * 4, 512); b += 64) {
        __builtin_prefetch(reinterpret_cast<const char*>(rows[j]) + b);
      }
    }
    PgDistances(pg_, rows, n, distances);
    for (size_t j = 0; j < n; j++) {
      if (!chains) {
        top->Add({distances[j], number, found[i + j].row});
      } else if (!(distances[j] > top->bound())) {
        rows_of(found[i + j].row, k, [&](uint32_t row) { top->Add({distances[j], number, row}); });
      }
    }
  }
  add_strays();
  strategies_[number] = Strategy::kIndex;
  return true;
}

Napi::Value SearchJob::Complete(Napi::Env env) {
  size_t n = hits_.size(), parts = strategies_.size();
  ResultBuffer buffer(env, n * 16 + parts * 8);
  Napi::Value distances, segments, ordinals, passing, visited;
  auto* d = static_cast<double*>(buffer.Take(napi_float64_array, n, &distances));
  auto* s = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, n, &segments));
  auto* o = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, n, &ordinals));
  auto* p = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, parts, &passing));
  auto* v = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, parts, &visited));
  for (size_t i = 0; i < n; i++) {
    d[i] = hits_[i].distance;
    s[i] = hits_[i].segment;
    o[i] = hits_[i].ordinal;
  }
  std::copy(passing_.begin(), passing_.end(), p);
  std::copy(visited_.begin(), visited_.end(), v);
  Napi::Array strategies = Napi::Array::New(env, parts);
  static constexpr const char* kNames[] = {"index", "exact", "empty"};
  for (size_t i = 0; i < parts; i++) {
    strategies.Set(static_cast<uint32_t>(i), Napi::String::New(env, kNames[static_cast<int>(strategies_[i])]));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("count", Napi::Number::New(env, static_cast<double>(n)));
  result.Set("segments", segments);
  result.Set("ordinals", ordinals);
  result.Set("distances", distances);
  result.Set("strategies", strategies);
  result.Set("passing", passing);
  result.Set("visited", visited);
  return result;
}

}  // namespace

Napi::Value Search(const Napi::CallbackInfo& info) {
  Napi::Object object = ObjectOf(info[0], "request");
  auto job = std::make_unique<SearchJob>();
  ReadRequest(object, &job->request);
  job->attnum = static_cast<int>(IntegerOf(Get(object, "attnum"), -32768, 32767, "attnum"));
  job->metric = MetricOf(Get(object, "metric"));
  ArrayView query = ViewOf(Get(object, "query"), napi_float32_array, "query");
  auto* values = static_cast<const float*>(query.data);
  job->query.assign(values, values + query.length);
  job->k = static_cast<size_t>(IntegerOf(Get(object, "k"), 0, 0x7fffffff, "k"));
  job->ef = static_cast<size_t>(IntegerOf(Get(object, "efSearch"), 1, 1 << 20, "efSearch"));
  job->exact = StringOf(Get(object, "mode"), "mode") == "exact";

  // Under about 20 microseconds a wake-up costs more than the work.
  size_t bytes = 0;
  for (auto& segment : job->request.segments) bytes += segment.rows * (query.length * 4 + job->request.program.size() + 16);
  if (bytes <= (size_t{128} << 10)) {
    job->inline_run = true;
    return RunNow(info.Env(), std::move(job));
  }
  return Submit(info.Env(), std::move(job));
}

}  // namespace elanus
