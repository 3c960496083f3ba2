// Aggregates over visible, passing rows of all segments, in (segment, ordinal) order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "request.h"

namespace elanus {
namespace {

enum class AggregateKind : uint8_t { kCountStar, kCount, kSum, kMin, kMax };

struct AggregateSpec {
  AggregateKind kind;
  int attnum;
  CompareAs as;
};

std::string ToDecimal(__int128 value) {
  bool negative = value < 0;
  unsigned __int128 rest = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string text;
  do {
    text.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
    rest /= 10;
  } while (rest > 0);
  if (negative) text.push_back('-');
  std::reverse(text.begin(), text.end());
  return text;
}

/** A sum of PostgreSQL numerics: one accumulator per base-10000 digit, carried at the end. */
class NumericSum {
 public:
  void Add(Column::View v) {
    if (v.size < 8) return;
    auto read16 = [&](size_t at) { return v.data[at] << 8 | v.data[at + 1]; };
    size_t digits = std::min<size_t>(read16(0), (v.size - 8) / 2);
    int weight = static_cast<int16_t>(read16(2)), sign = read16(4);
    scale_ = std::max(scale_, read16(6) & 0x3fff);
    if (sign == 0xC000) nan_ = true;
    if (sign == 0xD000) plus_ = true;
    if (sign == 0xF000) minus_ = true;
    if (sign & 0x8000) return;
    if (digits_.empty()) digits_.assign(kUnits + kBelow, 0);
    for (size_t i = 0; i < digits; i++) {
      int64_t at = kBelow + weight - static_cast<int64_t>(i);
      if (at < 0 || at >= static_cast<int64_t>(digits_.size())) continue;
      int digit = read16(8 + 2 * i);
      digits_[static_cast<size_t>(at)] += sign == 0x4000 ? -digit : digit;
    }
  }
  std::string Text() {
    if (nan_ || (plus_ && minus_)) return "NaN";
    if (plus_) return "Infinity";
    if (minus_) return "-Infinity";
    if (digits_.empty()) return scale_ ? "0." + std::string(static_cast<size_t>(scale_), '0') : "0";
    // Carry upwards; what is carried out of the top is the sign. A negative sum is negated and carried again.
    auto carry = [&] {
      int64_t over = 0;
      for (auto& d : digits_) {
        int64_t total = d + over;
        over = total >= 0 ? total / 10000 : -((-total + 9999) / 10000);
        d = total - over * 10000;
      }
      return over;
    };
    bool negative = carry() < 0;
    if (negative) {  // the digits say sum + 10000^n: their complement is -sum
      for (auto& d : digits_) d = -d;
      carry();
    }
    std::string whole, fraction;
    size_t top = digits_.size();
    while (top > kBelow + 1 && digits_[top - 1] == 0) top--;
    for (size_t i = top; i-- > kBelow;) {
      std::string digit = std::to_string(digits_[i]);
      if (!whole.empty()) digit.insert(0, 4 - digit.size(), '0');
      whole += digit;
    }
    for (size_t i = kBelow; i-- > 0 && fraction.size() < static_cast<size_t>(scale_);) {
      std::string digit = std::to_string(digits_[i]);
      digit.insert(0, 4 - digit.size(), '0');
      fraction += digit;
    }
    fraction.resize(static_cast<size_t>(scale_), '0');
    bool zero = std::all_of(digits_.begin(), digits_.end(), [](int64_t d) { return d == 0; });
    return (negative && !zero ? "-" : "") + whole + (scale_ ? "." + fraction : "");
  }

 private:
  static constexpr size_t kBelow = 4100, kUnits = 32800;
  std::vector<int64_t> digits_;
  int scale_ = 0;
  bool nan_ = false, plus_ = false, minus_ = false;
};

struct Accumulator {
  size_t count = 0;
  __int128 integer = 0;
  double number = 0;  // float64 sum; float32 sums are rounded to float32 at every step, as float4pl does
  bool infinite_input = false;
  NumericSum numeric;
  const Column* best = nullptr;
  size_t best_row = 0;
  Kind kind = Kind::kBool;
};

class AggregateJob final : public Job {
 public:
  Request request;
  std::vector<AggregateSpec> specs;

  void Run() override {
    Filter filter = DecodeFilter(request);
    totals_.resize(specs.size());
    for (auto& part : request.segments) {
      if (part.rows == 0) continue;
      Bitset bits;
      size_t count = 0;
      bool all = PassingRows(*part.state, part.rows, request.read_at, filter, part.allowed, &bits, &count);
      if (count == 0) continue;
      for (size_t i = 0; i < specs.size(); i++) {
        if (specs[i].kind == AggregateKind::kCountStar) {
          totals_[i].count += count;
          continue;
        }
        const Column& column = ColumnFor(part, specs[i].attnum);
        if (!column.validity && specs[i].kind == AggregateKind::kCount) {
          totals_[i].count += count;
          continue;
        }
        auto each = [&](auto f) {
          auto valid = [&](size_t row) {
            if (column.Valid(row)) f(row);
          };
          if (all) {
            for (size_t row = 0; row < part.rows; row++) valid(row);
          } else {
            ForEachBit(bits.data(), 0, part.rows, valid);
          }
        };
        Fold(specs[i], column, &totals_[i], each);
      }
    }
    for (size_t i = 0; i < specs.size(); i++) {
      if (specs[i].kind == AggregateKind::kSum && std::isinf(totals_[i].number) && !totals_[i].infinite_input) {
        throw NativeError("22003", "value out of range: overflow");
      }
    }
  }

  Napi::Value Complete(Napi::Env env) override {
    Napi::Array list = Napi::Array::New(env, specs.size());
    for (size_t i = 0; i < specs.size(); i++) {
      Napi::Object one = Napi::Object::New(env);
      one.Set("count", Napi::Number::New(env, static_cast<double>(totals_[i].count)));
      one.Set("value", ValueOf(env, specs[i], totals_[i]));
      list.Set(static_cast<uint32_t>(i), one);
    }
    return list;
  }

 private:
  template <class Each>
  static void Fold(const AggregateSpec& spec, const Column& column, Accumulator* total, Each each) {
    total->kind = column.kind;
    if (spec.kind == AggregateKind::kCount) {
      each([&](size_t) { total->count++; });
      return;
    }
    CheckComparable(column, spec.as);
    if (spec.kind != AggregateKind::kSum) {
      bool most = spec.kind == AggregateKind::kMax;
      each([&](size_t row) {
        total->count++;
        if (total->best) {
          int order = CompareRows(column, row, *total->best, total->best_row, spec.as);
          if (most ? order <= 0 : order >= 0) return;
        }
        total->best = &column;
        total->best_row = row;
      });
      return;
    }
    auto integers = [&](auto* values) {
      each([&](size_t row) {
        total->count++;
        total->integer += values[row];
      });
    };
    switch (column.kind) {
      case Kind::kInt16:
        return integers(column.As<int16_t>());
      case Kind::kInt32:
        return integers(column.As<int32_t>());
      case Kind::kInt64:
        return integers(column.As<int64_t>());
      case Kind::kFloat32:
        each([&](size_t row) {
          float v = column.As<float>()[row];
          total->infinite_input |= std::isinf(v);
          total->number = total->count++ ? static_cast<float>(static_cast<float>(total->number) + v) : v;
        });
        return;
      case Kind::kFloat64:
        each([&](size_t row) {
          double v = column.As<double>()[row];
          total->infinite_input |= std::isinf(v);
          total->number = total->count++ ? total->number + v : v;
        });
        return;
      default:
        if (spec.as != CompareAs::kNumeric) throw NativeError("XX000", "column cannot be summed");
        each([&](size_t row) {
          total->count++;
          total->numeric.Add(column.Bytes(row));
        });
    }
  }

  static Napi::Value ValueOf(Napi::Env env, const AggregateSpec& spec, Accumulator& total) {
    if (total.count == 0 || spec.kind == AggregateKind::kCount || spec.kind == AggregateKind::kCountStar) {
      return env.Null();
    }
    if (spec.kind == AggregateKind::kSum) {
      if (total.kind == Kind::kFloat32 || total.kind == Kind::kFloat64) return Napi::Number::New(env, total.number);
      if (spec.as == CompareAs::kNumeric) return Napi::String::New(env, total.numeric.Text());
      return Napi::String::New(env, ToDecimal(total.integer));
    }
    const Column& column = *total.best;
    size_t row = total.best_row;
    switch (column.kind) {
      case Kind::kBool:
        return Napi::Number::New(env, column.As<uint8_t>()[row]);
      case Kind::kInt16:
        return Napi::Number::New(env, column.As<int16_t>()[row]);
      case Kind::kInt32:
        return Napi::Number::New(env, column.As<int32_t>()[row]);
      case Kind::kInt64:
        return Napi::BigInt::New(env, column.As<int64_t>()[row]);
      case Kind::kFloat32:
        return Napi::Number::New(env, column.As<float>()[row]);
      case Kind::kFloat64:
        return Napi::Number::New(env, column.As<double>()[row]);
      default: {
        auto bytes = column.Bytes(row);
        Napi::Uint8Array copy = Napi::Uint8Array::New(env, bytes.size);
        if (bytes.size) std::memcpy(copy.Data(), bytes.data, bytes.size);
        return copy;
      }
    }
  }

  std::vector<Accumulator> totals_;
};

}  // namespace

Napi::Value Aggregate(const Napi::CallbackInfo& info) {
  Napi::Object object = ObjectOf(info[0], "request");
  auto job = std::make_unique<AggregateJob>();
  ReadRequest(object, &job->request);
  Napi::Value list = Get(object, "aggregates");
  if (!list.IsArray()) throw Napi::TypeError::New(info.Env(), "aggregates must be an array");
  for (uint32_t i = 0; i < list.As<Napi::Array>().Length(); i++) {
    Napi::Object one = ObjectOf(list.As<Napi::Array>().Get(i), "aggregate");
    std::string kind = StringOf(Get(one, "kind"), "kind"), as = StringOf(Get(one, "as"), "as");
    AggregateSpec spec{};
    if (kind == "countStar") {
      spec.kind = AggregateKind::kCountStar;
    } else if (kind == "count") {
      spec.kind = AggregateKind::kCount;
    } else if (kind == "sum") {
      spec.kind = AggregateKind::kSum;
    } else if (kind == "min") {
      spec.kind = AggregateKind::kMin;
    } else if (kind == "max") {
      spec.kind = AggregateKind::kMax;
    } else {
      throw Napi::TypeError::New(info.Env(), "unknown aggregate");
    }
    spec.as = as == "bytes" ? CompareAs::kBytes : as == "numeric" ? CompareAs::kNumeric : CompareAs::kNative;
    if (spec.kind != AggregateKind::kCountStar) {
      spec.attnum = static_cast<int>(IntegerOf(Get(one, "attnum"), -32768, 32767, "attnum"));
    }
    job->specs.push_back(spec);
  }
  size_t rows = 0;
  for (auto& segment : job->request.segments) rows += segment.rows;
  if (rows * (1 + job->specs.size()) <= 8192) return RunNow(info.Env(), std::move(job));
  return Submit(info.Env(), std::move(job));
}

}  // namespace elanus
