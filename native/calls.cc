// Calls that hand rows back: filter, top; and the index's life: build, load; distance; mapFile, releasePages.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <unordered_map>

#include "pool.h"
#include "request.h"

namespace elanus {
namespace {

constexpr size_t kInlineRows = 8192;

size_t RowsOf(const Request& request) {
  size_t rows = 0;
  for (auto& segment : request.segments) rows += segment.rows;
  return rows * (request.program.size() > 64 ? 4 : 1);
}

class FilterJob final : public Job {
 public:
  Request request;
  void Run() override {
    Filter filter = DecodeFilter(request);
    for (auto& part : request.segments) {
      Bitset bits;
      size_t count = 0;
      if (PassingRows(*part.state, part.rows, request.read_at, filter, part.allowed, &bits, &count)) {
        bits.Reset(part.rows, true);
      }
      bitsets_.push_back(std::move(bits));
      counts_.push_back(static_cast<uint32_t>(count));
    }
  }
  Napi::Value Complete(Napi::Env env) override {
    Napi::Array bitsets = Napi::Array::New(env, bitsets_.size());
    for (size_t i = 0; i < bitsets_.size(); i++) {
      size_t bytes = (bitsets_[i].size() + 7) / 8;
      Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes);
      if (bytes) std::memcpy(array.Data(), bitsets_[i].data(), bytes);
      bitsets.Set(static_cast<uint32_t>(i), array);
    }
    Napi::Uint32Array counts = Napi::Uint32Array::New(env, counts_.size());
    std::copy(counts_.begin(), counts_.end(), counts.Data());
    Napi::Object result = Napi::Object::New(env);
    result.Set("bitsets", bitsets);
    result.Set("counts", counts);
    return result;
  }

 private:
  std::vector<Bitset> bitsets_;
  std::vector<uint32_t> counts_;
};

struct SortKey {
  int attnum;
  bool descending, nulls_first;
  CompareAs as;
};

class TopJob final : public Job {
 public:
  Request request;
  std::vector<SortKey> keys;
  size_t limit = 0;

  void Run() override {
    Filter filter = DecodeFilter(request);
    size_t width = keys.size();
    columns_.assign(request.segments.size() * width, nullptr);
    for (uint32_t s = 0; s < request.segments.size() && limit > 0; s++) {
      auto& part = request.segments[s];
      if (part.rows == 0) continue;
      for (size_t i = 0; i < width; i++) {
        const Column& column = ColumnFor(part, keys[i].attnum);
        CheckComparable(column, keys[i].as);
        columns_[s * width + i] = &column;
      }
      if (keys.empty() && rows_.size() == limit) break;
      Bitset bits;
      size_t count = 0;
      bool all = PassingRows(*part.state, part.rows, request.read_at, filter, part.allowed, &bits, &count);
      if (all) {
        for (size_t row = 0; row < part.rows && !Enough(); row++) Add({s, static_cast<uint32_t>(row)});
      } else {
        ForEachBit(bits.data(), 0, part.rows, [&](size_t row) {
          if (!Enough()) Add({s, static_cast<uint32_t>(row)});
        });
      }
    }
    if (!keys.empty()) std::sort(rows_.begin(), rows_.end(), [this](Row a, Row b) { return Before(a, b); });
  }

  Napi::Value Complete(Napi::Env env) override {
    size_t n = rows_.size();
    ResultBuffer buffer(env, n * 8);
    Napi::Value segments, ordinals;
    auto* s = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, n, &segments));
    auto* o = static_cast<uint32_t*>(buffer.Take(napi_uint32_array, n, &ordinals));
    for (size_t i = 0; i < n; i++) {
      s[i] = rows_[i].segment;
      o[i] = rows_[i].ordinal;
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("count", Napi::Number::New(env, static_cast<double>(n)));
    result.Set("segments", segments);
    result.Set("ordinals", ordinals);
    return result;
  }

 private:
  struct Row {
    uint32_t segment, ordinal;
  };
  bool Enough() const { return keys.empty() && rows_.size() == limit; }
  bool Before(Row a, Row b) const {
    for (size_t i = 0; i < keys.size(); i++) {
      const Column& x = *columns_[a.segment * keys.size() + i];
      const Column& y = *columns_[b.segment * keys.size() + i];
      bool xn = !x.Valid(a.ordinal), yn = !y.Valid(b.ordinal);
      if (xn || yn) {
        if (xn && yn) continue;
        return xn == keys[i].nulls_first;
      }
      int order = CompareRows(x, a.ordinal, y, b.ordinal, keys[i].as);
      if (order != 0) return keys[i].descending ? order > 0 : order < 0;
    }
    return a.segment != b.segment ? a.segment < b.segment : a.ordinal < b.ordinal;
  }
  /** A heap of the `limit` first rows, the last of them at the front. */
  void Add(Row row) {
    if (keys.empty()) {
      rows_.push_back(row);
      return;
    }
    auto before = [this](Row a, Row b) { return Before(a, b); };
    if (rows_.size() < limit) {
      rows_.push_back(row);
      if (rows_.size() == limit) std::make_heap(rows_.begin(), rows_.end(), before);
    } else if (Before(row, rows_.front())) {
      std::pop_heap(rows_.begin(), rows_.end(), before);
      rows_.back() = row;
      std::push_heap(rows_.begin(), rows_.end(), before);
    }
  }
  std::vector<const Column*> columns_;
  std::vector<Row> rows_;
};

/** The build is its own schedule of slices (hnsw/build.cc); this job is only its promise. */
class BuildJob final : public Job {
 public:
  std::shared_ptr<const HnswIndex> index;
  std::shared_ptr<HnswBuild> build;
  Pin values, validity;
  std::shared_ptr<Napi::FunctionReference> progress;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
  Napi::ObjectReference signal;
  Napi::FunctionReference listener;

  void Run() override {}
  Napi::Value Complete(Napi::Env env) override {
    Unlisten();
    return IndexObject::New(env, std::move(index));
  }
  ~BuildJob() override {
    try {
      if (!env_state() || !env_state()->closing()) Unlisten();
    } catch (const Napi::Error&) {
      // A signal without removeEventListener is left as it is.
    }
  }

 private:
  void Unlisten() {
    if (signal.IsEmpty()) return;
    Napi::HandleScope scope(signal.Env());
    Napi::Object target = signal.Value();
    Napi::Value remove = target.Get("removeEventListener");
    if (remove.IsFunction()) {
      remove.As<Napi::Function>().Call(target, {Napi::String::New(signal.Env(), "abort"), listener.Value()});
    }
    signal.Reset();
    listener.Reset();
  }
};

class LoadJob final : public Job {
 public:
  LoadJob(std::string path, bool verify) : path_(std::move(path)), verify_(verify) {}
  void Run() override { index_ = HnswIndex::Load(path_, verify_); }
  Napi::Value Complete(Napi::Env env) override { return IndexObject::New(env, std::move(index_)); }

 private:
  std::string path_;
  bool verify_;
  std::shared_ptr<const HnswIndex> index_;
};

/** What MapFile has mapped, by address: only that may be told to give its pages back, other memory would be wiped. */
std::mutex mapped_mutex;
std::unordered_map<void*, size_t> mapped_files;

}  // namespace

Napi::Value FilterRows(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<FilterJob>();
  ReadRequest(ObjectOf(info[0], "request"), &job->request);
  if (RowsOf(job->request) <= kInlineRows) return RunNow(info.Env(), std::move(job));
  return Submit(info.Env(), std::move(job));
}

Napi::Value Top(const Napi::CallbackInfo& info) {
  Napi::Object object = ObjectOf(info[0], "request");
  auto job = std::make_unique<TopJob>();
  ReadRequest(object, &job->request);
  Napi::Value keys = Get(object, "orderBy");
  if (!keys.IsArray()) throw Napi::TypeError::New(info.Env(), "orderBy must be an array");
  for (uint32_t i = 0; i < keys.As<Napi::Array>().Length(); i++) {
    Napi::Object key = ObjectOf(keys.As<Napi::Array>().Get(i), "orderBy");
    std::string as = StringOf(Get(key, "as"), "as");
    job->keys.push_back({static_cast<int>(IntegerOf(Get(key, "attnum"), -32768, 32767, "attnum")),
                         BooleanOf(Get(key, "descending"), "descending"), BooleanOf(Get(key, "nullsFirst"), "nullsFirst"),
                         as == "bytes"     ? CompareAs::kBytes
                         : as == "numeric" ? CompareAs::kNumeric
                                           : CompareAs::kNative});
  }
  double limit = NumberOf(Get(object, "limit"), "limit");
  if (!(limit >= 0)) throw Napi::RangeError::New(info.Env(), "limit is out of range");
  job->limit = limit > 4e9 ? size_t{4000000000} : static_cast<size_t>(limit);
  if (RowsOf(job->request) * (1 + job->keys.size()) <= kInlineRows) return RunNow(info.Env(), std::move(job));
  return Submit(info.Env(), std::move(job));
}

Napi::Value BuildHnsw(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object options = ObjectOf(info[0], "options");
  BuildInput input{};
  ArrayView values = ViewOf(Get(options, "values"), napi_float32_array, "values");
  input.values = static_cast<const float*>(values.data);
  input.rows = static_cast<size_t>(IntegerOf(Get(options, "rowCount"), 0, 0x7ffffffe, "rowCount"));
  input.dimensions = static_cast<size_t>(IntegerOf(Get(options, "dimensions"), 1, 1 << 16, "dimensions"));
  if (values.length / input.dimensions < input.rows) throw Napi::RangeError::New(env, "values are shorter than rowCount");
  input.metric = MetricOf(Get(options, "metric"));
  input.m = static_cast<size_t>(IntegerOf(Get(options, "m"), 2, 512, "m"));
  input.ef_construction = static_cast<size_t>(IntegerOf(Get(options, "efConstruction"), 1, 100000, "efConstruction"));
  auto threads = static_cast<size_t>(IntegerOf(Get(options, "threads"), 1, 1024, "threads"));
  auto job = std::make_unique<BuildJob>();
  job->values = Pin(Get(options, "values"));
  Napi::Value validity = Get(options, "validity");
  if (!IsMissing(validity)) {
    ArrayView view = ViewOf(validity, napi_uint8_array, "validity");
    if (view.bytes < (input.rows + 7) / 8) throw Napi::RangeError::New(env, "validity is shorter than rowCount");
    input.validity = static_cast<const uint8_t*>(view.data);
    job->validity = Pin(validity);
  }
  Napi::Value progress = Get(options, "onProgress");
  if (progress.IsFunction()) {
    job->progress = std::make_shared<Napi::FunctionReference>(Napi::Persistent(progress.As<Napi::Function>()));
  }
  auto cancelled = job->cancelled;
  Napi::Value signal = Get(options, "signal");
  if (signal.IsObject()) {
    Napi::Object target = signal.As<Napi::Object>();
    if (target.Get("aborted").ToBoolean().Value()) *cancelled = true;
    Napi::Function listener =
        Napi::Function::New(env, [cancelled](const Napi::CallbackInfo&) { *cancelled = true; }, "onabort");
    Napi::Value add = target.Get("addEventListener");
    if (add.IsFunction()) {
      add.As<Napi::Function>().Call(target, {Napi::String::New(env, "abort"), listener});
      job->signal = Napi::Persistent(target);
      job->listener = Napi::Persistent(listener);
    }
  }

  auto state = EnvState::Get(env);
  std::weak_ptr<EnvState> weak = state;
  BuildJob* raw = job.get();
  // Progress is told about a hundred times; the callback holds the reference weakly, as the job may be gone by then.
  size_t step = std::max<size_t>(1000, input.rows / 100);
  auto told = std::make_shared<std::atomic<size_t>>(0);
  std::weak_ptr<Napi::FunctionReference> listener = job->progress;
  std::weak_ptr<HnswBuild>* build_slot = new std::weak_ptr<HnswBuild>();
  auto slot = std::shared_ptr<std::weak_ptr<HnswBuild>>(build_slot);
  auto stopped = [cancelled, weak, told, step, listener, slot] {
    auto state = weak.lock();
    if (!state || state->closing()) return true;
    if (auto build = slot->lock(); build && !listener.expired()) {
      size_t rows = build->rows_done(), before = told->load();
      if (rows >= before + step && told->compare_exchange_strong(before, rows)) {
        state->Call([listener, rows](Napi::Env env) {
          if (auto call = listener.lock()) call->Value().Call({Napi::Number::New(env, static_cast<double>(rows))});
        });
      }
    }
    return cancelled->load();
  };
  raw->build = std::make_shared<HnswBuild>(input, threads, stopped);
  *slot = raw->build;
  Napi::Promise promise = Prepare(env, raw);
  job.release();
  raw->build->Start([raw, cancelled](std::shared_ptr<HnswIndex> index, std::string error) {
    raw->build.reset();
    raw->index = std::move(index);
    if (error.empty()) {
      FinishJob(raw);
    } else if (*cancelled) {
      FailJob(raw, "57014", "canceling statement due to user request");
    } else {
      FailJob(raw, "XX000", "hnsw build: " + error);
    }
  });
  return promise;
}

Napi::Value LoadHnsw(const Napi::CallbackInfo& info) {
  bool verify = IsMissing(info[1]) || BooleanOf(info[1], "verify");
  return Submit(info.Env(), std::make_unique<LoadJob>(StringOf(info[0], "path"), verify));
}

Napi::Value Distance(const Napi::CallbackInfo& info) {
  Metric metric = MetricOf(info[0]);
  ArrayView a = ViewOf(info[1], napi_float32_array, "a"), b = ViewOf(info[2], napi_float32_array, "b");
  if (a.length != b.length) {
    throw MakeError(info.Env(), "22000", "different vector dimensions " + std::to_string(a.length) + " and " +
                                             std::to_string(b.length));
  }
  PgQuery query = MakePgQuery(metric, static_cast<const float*>(a.data), a.length);
  return Napi::Number::New(info.Env(), PgDistance(query, static_cast<const float*>(b.data)));
}

Napi::Value MapFile(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string path = StringOf(info[0], "path");
  auto fail = [&](const char* what) {
    return MakeError(env, "58030", std::string("could not ") + what + " file \"" + path + "\": " + std::strerror(errno));
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw fail("open");
  struct stat stats;
  if (fstat(fd, &stats) != 0) {
    Napi::Error error = fail("stat");
    close(fd);
    throw error;
  }
  auto size = static_cast<size_t>(stats.st_size);
  if (size == 0) {
    close(fd);
    return Napi::ArrayBuffer::New(env, 0);
  }
  // Private and writable: a stray write from JavaScript changes a copy of the page instead of ending the process.
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) {
    Napi::Error error = fail("map");
    close(fd);
    throw error;
  }
  close(fd);
  {
    std::lock_guard lock(mapped_mutex);
    mapped_files[data] = size;
  }
  return Napi::ArrayBuffer::New(env, data, size, [size](Napi::Env, void* mapped) {
    {
      std::lock_guard lock(mapped_mutex);
      mapped_files.erase(mapped);
    }
    munmap(mapped, size);
  });
}

Napi::Value ReleasePages(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) throw Napi::TypeError::New(info.Env(), "buffer must be an ArrayBuffer");
  void* data = info[0].As<Napi::ArrayBuffer>().Data();
  std::lock_guard lock(mapped_mutex);
  auto found = mapped_files.find(data);
  // The file's bytes come back when they are read again: nobody has written to the private copy.
  if (found != mapped_files.end()) madvise(data, found->second, MADV_DONTNEED);
  return info.Env().Undefined();
}

}  // namespace elanus
