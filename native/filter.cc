// Evaluation goes over the decoded tree, a whole segment at a time: cheap leaves (fixed-width comparisons) as bitsets by
// SIMD, dear ones (text, numeric, LIKE, distance) only for rows that can still matter: `wanted` narrows along AND and OR.
#include "filter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include "error.h"
#include "kernels/kernels.h"

namespace elanus {
namespace {

[[noreturn]] void Malformed() { throw NativeError("XX000", "malformed filter program"); }

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : p_(data), end_(data + size) {}
  template <class T>
  T Read() {
    if (static_cast<size_t>(end_ - p_) < sizeof(T)) Malformed();
    T value;
    std::memcpy(&value, p_, sizeof(T));
    p_ += sizeof(T);
    return value;
  }
  Column::View Bytes(size_t size) {
    if (static_cast<size_t>(end_ - p_) < size) Malformed();
    Column::View view{p_, size};
    p_ += size;
    return view;
  }
  bool AtEnd() const { return p_ == end_; }
  size_t Left() const { return static_cast<size_t>(end_ - p_); }

 private:
  const uint8_t *p_, *end_;
};

FilterConstant ReadConstant(Reader& in) {
  FilterConstant value;
  switch (in.Read<uint8_t>()) {
    case FilterConstant::kNumber:
      value.tag = FilterConstant::kNumber;
      value.number = in.Read<double>();
      break;
    case FilterConstant::kBigint:
      value.tag = FilterConstant::kBigint;
      value.integer = in.Read<int64_t>();
      break;
    case FilterConstant::kBytes:
      value.tag = FilterConstant::kBytes;
      value.bytes = in.Bytes(in.Read<uint32_t>());
      break;
    default:
      Malformed();
  }
  return value;
}

template <class T>
T ReadEnum(Reader& in, uint8_t last) {
  uint8_t value = in.Read<uint8_t>();
  if (value > last) Malformed();
  return static_cast<T>(value);
}

FilterNode Decode(Reader& in) {
  if (in.Read<uint8_t>() != 1) throw NativeError("XX000", "unknown version of filter program");
  std::vector<FilterNode> stack;
  while (!in.AtEnd()) {
    FilterNode node;
    node.op = static_cast<FilterNode::Op>(in.Read<uint8_t>());
    auto take = [&](size_t count) {
      if (count > stack.size()) Malformed();
      node.args.assign(std::make_move_iterator(stack.end() - count), std::make_move_iterator(stack.end()));
      stack.resize(stack.size() - count);
    };
    switch (node.op) {
      case FilterNode::kAnd:
      case FilterNode::kOr:
        take(in.Read<uint16_t>());
        break;
      case FilterNode::kNot:
        take(1);
        break;
      case FilterNode::kConstant:
        node.constant = ReadEnum<uint8_t>(in, 2);
        break;
      case FilterNode::kIsNull:
      case FilterNode::kBoolean:
        node.attnum = in.Read<int16_t>();
        break;
      case FilterNode::kCompare:
        node.attnum = in.Read<int16_t>();
        node.comparison = ReadEnum<Comparison>(in, 5);
        node.as = ReadEnum<CompareAs>(in, 2);
        node.values.push_back(ReadConstant(in));
        break;
      case FilterNode::kIn: {
        node.attnum = in.Read<int16_t>();
        node.as = ReadEnum<CompareAs>(in, 2);
        node.has_null = ReadEnum<uint8_t>(in, 1);
        uint32_t count = in.Read<uint32_t>();
        if (count > in.Left()) Malformed();
        for (uint32_t i = 0; i < count; i++) node.values.push_back(ReadConstant(in));
        break;
      }
      case FilterNode::kLike:
        node.attnum = in.Read<int16_t>();
        node.pattern = in.Bytes(in.Read<uint32_t>());
        break;
      case FilterNode::kCompareColumns:
        node.attnum = in.Read<int16_t>();
        node.comparison = ReadEnum<Comparison>(in, 5);
        node.as = ReadEnum<CompareAs>(in, 2);
        node.other = in.Read<int16_t>();
        break;
      case FilterNode::kDistance: {
        node.attnum = in.Read<int16_t>();
        node.metric = ReadEnum<Metric>(in, 3);
        node.comparison = ReadEnum<Comparison>(in, 5);
        node.radius = in.Read<double>();
        uint32_t count = in.Read<uint32_t>();
        if (count > in.Left() / 4) Malformed();
        node.query.resize(count);
        auto bytes = in.Bytes(count * size_t{4});
        if (count) std::memcpy(node.query.data(), bytes.data, bytes.size);
        break;
      }
      default:
        Malformed();
    }
    stack.push_back(std::move(node));
  }
  if (stack.size() != 1) Malformed();
  return std::move(stack[0]);
}

/** One truth value per row: true, null; neither bit: false. */
struct Truth {
  Bitset yes;
  std::optional<Bitset> null;
};

bool Holds(Comparison comparison, int order) {
  switch (comparison) {
    case Comparison::kEqual:
      return order == 0;
    case Comparison::kNotEqual:
      return order != 0;
    case Comparison::kLess:
      return order < 0;
    case Comparison::kLessEqual:
      return order <= 0;
    case Comparison::kGreater:
      return order > 0;
    case Comparison::kGreaterEqual:
      return order >= 0;
  }
  return false;
}

bool IsContinuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/** LIKE over UTF-8, as like_match.c: % any run, _ one character, \ escapes. Backtracks to the last % only. */
bool Like(const uint8_t* t, const uint8_t* t_end, const uint8_t* p, const uint8_t* p_end) {
  const uint8_t *retry_p = nullptr, *retry_t = nullptr;
  auto next_char = [&](const uint8_t* at) {
    at++;
    while (at < t_end && IsContinuation(*at)) at++;
    return at;
  };
  for (;;) {
    if (p < p_end && *p == '%') {
      retry_p = ++p;
      retry_t = t;
      if (p == p_end) return true;
      continue;
    }
    if (t == t_end) {
      if (p == p_end) return true;
      return false;  // what is left of the pattern needs characters (% was skipped above)
    }
    if (p < p_end && *p == '_') {
      t = next_char(t);
      p++;
      continue;
    }
    if (p < p_end) {
      const uint8_t* literal = *p == '\\' ? p + 1 : p;
      if (literal < p_end && *literal == *t) {
        t++;
        p = literal + 1;
        continue;
      }
    }
    if (!retry_p || retry_t == t_end) return false;
    retry_t = next_char(retry_t);
    t = retry_t;
    p = retry_p;
  }
}

class Evaluator {
 public:
  Evaluator(const SegmentState& segment, size_t rows) : segment_(segment), rows_(rows), k_(Kernels::Get()) {}

  /** Rows outside of `wanted` (nullptr: none) may get any value. */
  Truth Eval(const FilterNode& node, const Bitset* wanted) {
    switch (node.op) {
      case FilterNode::kAnd:
      case FilterNode::kOr:
        return Combine(node, wanted);
      case FilterNode::kNot: {
        Truth truth = Eval(node.args[0], wanted);
        for (size_t w = 0; w < truth.yes.words(); w++) {
          truth.yes.data()[w] = ~truth.yes.data()[w] & ~(truth.null ? truth.null->data()[w] : 0);
        }
        truth.yes.Trim();
        return truth;
      }
      case FilterNode::kConstant: {
        Truth truth{Bitset(rows_, node.constant == 1), {}};
        if (node.constant == 2) truth.null = Bitset(rows_, true);
        return truth;
      }
      case FilterNode::kIsNull: {
        const Column& column = Find(node.attnum);
        Truth truth{Bitset(rows_, column.validity != nullptr), {}};
        if (column.validity) {
          Bitset valid(rows_, true);
          valid.AndBytes(column.validity);
          for (size_t w = 0; w < valid.words(); w++) truth.yes.data()[w] &= ~valid.data()[w];
        }
        return truth;
      }
      case FilterNode::kBoolean: {
        const Column& column = Find(node.attnum);
        if (column.kind != Kind::kBool) throw NativeError("XX000", "column is not boolean");
        Truth truth{Bitset(rows_), {}};
        k_.compare_u8(column.As<uint8_t>(), rows_, 0, Predicate::kGreater, truth.yes.data());
        return MaskNulls(column, std::move(truth));
      }
      case FilterNode::kCompare:
        return Compare(node, wanted);
      case FilterNode::kIn:
        return In(node, wanted);
      case FilterNode::kLike: {
        const Column& column = Find(node.attnum);
        if (column.kind != Kind::kBytes) throw NativeError("XX000", "column is not text");
        CheckPattern(node.pattern);
        return ByRow(column, wanted, [&](size_t row) {
          auto v = column.Bytes(row);
          return Like(v.data, v.data + v.size, node.pattern.data, node.pattern.data + node.pattern.size);
        });
      }
      case FilterNode::kCompareColumns: {
        const Column &a = Find(node.attnum), &b = Find(node.other);
        CheckComparable(a, node.as);
        CheckComparable(b, node.as);
        Truth truth = ByRow(a, wanted, [&](size_t row) {
          return b.Valid(row) && Holds(node.comparison, CompareRows(a, row, b, row, node.as));
        });
        return MaskNulls(b, std::move(truth));
      }
      case FilterNode::kDistance: {
        const Column& column = Find(node.attnum);
        if (column.kind != Kind::kVector) throw NativeError("XX000", "column is not a vector");
        if (column.width != node.query.size()) {
          throw NativeError("22000", "different vector dimensions " + std::to_string(column.width) + " and " +
                                         std::to_string(node.query.size()));
        }
        return Distance(node, column, wanted);
      }
    }
    Malformed();
  }

 private:
  const Column& Find(int attnum) const {
    const Column* column = segment_.Find(attnum);
    if (!column) throw NativeError("XX000", "segment has no column " + std::to_string(attnum));
    if (column->capacity < rows_) throw NativeError("XX000", "column " + std::to_string(attnum) + " is too short");
    return *column;
  }

  static void CheckPattern(Column::View pattern) {
    for (size_t i = 0; i < pattern.size; i++) {
      if (pattern.data[i] != '\\') continue;
      if (++i == pattern.size) throw NativeError("22025", "LIKE pattern must not end with escape character");
    }
  }

  /** NULL rows: neither true nor false. */
  Truth MaskNulls(const Column& column, Truth truth) const {
    if (!column.validity) return truth;
    Bitset valid(rows_, true);
    valid.AndBytes(column.validity);
    if (!truth.null) truth.null = Bitset(rows_);
    for (size_t w = 0; w < valid.words(); w++) {
      truth.null->data()[w] |= ~valid.data()[w];
      truth.yes.data()[w] &= valid.data()[w];
    }
    truth.null->Trim();
    return truth;
  }

  template <class F>
  Truth ByRow(const Column& column, const Bitset* wanted, F judge) const {
    Truth truth{Bitset(rows_), {}};
    auto each = [&](size_t row) {
      if (column.Valid(row) && judge(row)) truth.yes.Set(row);
    };
    if (wanted) {
      ForEachBit(wanted->data(), 0, rows_, each);
    } else {
      for (size_t row = 0; row < rows_; row++) each(row);
    }
    return MaskNulls(column, std::move(truth));
  }

  static bool IsDear(const FilterNode& node) {
    switch (node.op) {
      case FilterNode::kLike:
      case FilterNode::kDistance:
      case FilterNode::kCompareColumns:
        return true;
      case FilterNode::kCompare:
        return node.as != CompareAs::kNative;
      case FilterNode::kIn:
        return node.as != CompareAs::kNative || node.values.size() > 16;
      default:
        return std::any_of(node.args.begin(), node.args.end(), [](auto& arg) { return IsDear(arg); });
    }
  }

  Truth Combine(const FilterNode& node, const Bitset* wanted) {
    bool conjunction = node.op == FilterNode::kAnd;
    Truth total{Bitset(rows_, conjunction), {}};
    std::vector<const FilterNode*> order;
    for (auto& arg : node.args) {
      if (!IsDear(arg)) order.push_back(&arg);
    }
    size_t cheap = order.size();
    for (auto& arg : node.args) {
      if (IsDear(arg)) order.push_back(&arg);
    }
    for (size_t i = 0; i < order.size(); i++) {
      Truth truth;
      if (i >= cheap && i > 0) {
        // Rows whose result is decided already (AND: false, OR: true) need no look.
        Bitset open(rows_, true);
        for (size_t w = 0; w < open.words(); w++) {
          uint64_t yes = total.yes.data()[w];
          uint64_t undecided = conjunction ? yes | (total.null ? total.null->data()[w] : 0) : ~yes;
          open.data()[w] &= undecided & (wanted ? wanted->data()[w] : ~uint64_t{0});
        }
        truth = Eval(*order[i], &open);
      } else {
        truth = Eval(*order[i], wanted);
      }
      bool nulls = total.null || truth.null;
      if (nulls && !total.null) total.null = Bitset(rows_);
      for (size_t w = 0; w < total.yes.words(); w++) {
        uint64_t a = total.yes.data()[w], b = truth.yes.data()[w];
        uint64_t an = total.null ? total.null->data()[w] : 0, bn = truth.null ? truth.null->data()[w] : 0;
        uint64_t yes = conjunction ? a & b : a | b;
        total.yes.data()[w] = yes;
        if (nulls) total.null->data()[w] = conjunction ? (a | an) & (b | bn) & ~yes : (an | bn) & ~yes;
      }
    }
    return total;
  }

  /** Bits of rows whose value is (equal, less, greater) than an integer. */
  void IntegerBits(const Column& column, int64_t c, Predicate p, uint64_t* out) const {
    switch (column.kind) {
      case Kind::kBool:
        return k_.compare_u8(column.As<uint8_t>(), rows_, static_cast<uint8_t>(c), p, out);
      case Kind::kInt16:
        return k_.compare_i16(column.As<int16_t>(), rows_, static_cast<int16_t>(c), p, out);
      case Kind::kInt32:
        return k_.compare_i32(column.As<int32_t>(), rows_, static_cast<int32_t>(c), p, out);
      default:
        return k_.compare_i64(column.As<int64_t>(), rows_, c, p, out);
    }
  }

  static void RangeOf(Kind kind, int64_t* low, int64_t* high) {
    switch (kind) {
      case Kind::kBool:
        *low = 0, *high = 255;
        return;
      case Kind::kInt16:
        *low = INT16_MIN, *high = INT16_MAX;
        return;
      case Kind::kInt32:
        *low = INT32_MIN, *high = INT32_MAX;
        return;
      default:
        *low = INT64_MIN, *high = INT64_MAX;
    }
  }

  void Bits(const Column& column, const FilterConstant& value, Predicate p, Bitset* out) const {
    if (value.tag == FilterConstant::kBytes) throw NativeError("XX000", "filter constant is of the wrong kind");
    if (column.kind == Kind::kFloat32 || column.kind == Kind::kFloat64) {
      double c = value.tag == FilterConstant::kBigint ? static_cast<double>(value.integer) : value.number;
      if (column.kind == Kind::kFloat32) return k_.compare_f32(column.As<float>(), rows_, c, p, out->data());
      return k_.compare_f64(column.As<double>(), rows_, c, p, out->data());
    }
    int64_t low, high;
    RangeOf(column.kind, &low, &high);
    int64_t c = value.integer;
    bool whole = true, below = false, above = false;
    if (value.tag == FilterConstant::kNumber) {
      double floor = std::floor(value.number);
      whole = floor == value.number;
      above = !(floor < 9223372036854775808.0);  // NaN is greater than every number
      below = floor < -9223372036854775808.0;
      if (!above && !below) c = static_cast<int64_t>(floor);
    }
    if (!above && !below) {
      above = c > high;
      below = c < low;
    }
    if (above || below) {
      bool all = above ? p == Predicate::kLess : p == Predicate::kGreater;
      out->Reset(rows_, all);
      return;
    }
    if (!whole && p == Predicate::kEqual) return out->Reset(rows_, false);
    if (!whole && p == Predicate::kLess) {  // v < 2.5: not v > 2
      IntegerBits(column, c, Predicate::kGreater, out->data());
      for (size_t w = 0; w < out->words(); w++) out->data()[w] = ~out->data()[w];
      return out->Trim();
    }
    IntegerBits(column, c, p, out->data());
  }

  Truth Compare(const FilterNode& node, const Bitset* wanted) const {
    const Column& column = Find(node.attnum);
    CheckComparable(column, node.as);
    const FilterConstant& value = node.values[0];
    if (node.as != CompareAs::kNative) {
      if (value.tag != FilterConstant::kBytes) throw NativeError("XX000", "filter constant is of the wrong kind");
      bool numeric = node.as == CompareAs::kNumeric;
      return ByRow(column, wanted, [&](size_t row) {
        auto v = column.Bytes(row);
        if (!numeric && (node.comparison == Comparison::kEqual) && v.size != value.bytes.size) return false;
        return Holds(node.comparison, numeric ? CompareNumeric(v, value.bytes) : CompareBytes(v, value.bytes));
      });
    }
    Truth truth{Bitset(rows_), {}};
    Predicate p = Predicate::kEqual;
    bool complement = false;
    switch (node.comparison) {
      case Comparison::kEqual:
        break;
      case Comparison::kNotEqual:
        complement = true;
        break;
      case Comparison::kLess:
        p = Predicate::kLess;
        break;
      case Comparison::kGreaterEqual:
        p = Predicate::kLess;
        complement = true;
        break;
      case Comparison::kGreater:
        p = Predicate::kGreater;
        break;
      case Comparison::kLessEqual:
        p = Predicate::kGreater;
        complement = true;
        break;
    }
    Bits(column, value, p, &truth.yes);
    if (complement) {
      for (size_t w = 0; w < truth.yes.words(); w++) truth.yes.data()[w] = ~truth.yes.data()[w];
      truth.yes.Trim();
    }
    return MaskNulls(column, std::move(truth));
  }

  Truth In(const FilterNode& node, const Bitset* wanted) const {
    const Column& column = Find(node.attnum);
    CheckComparable(column, node.as);
    Truth truth{Bitset(rows_), {}};
    if (node.as == CompareAs::kNative && node.values.size() <= 16) {
      Bitset one(rows_);
      for (auto& value : node.values) {
        Bits(column, value, Predicate::kEqual, &one);
        for (size_t w = 0; w < one.words(); w++) truth.yes.data()[w] |= one.data()[w];
      }
      truth = MaskNulls(column, std::move(truth));
    } else if (node.as == CompareAs::kNative) {
      truth = InNumbers(node, column, wanted);
    } else {
      std::vector<Column::View> list;
      for (auto& value : node.values) {
        if (value.tag != FilterConstant::kBytes) throw NativeError("XX000", "filter constant is of the wrong kind");
        list.push_back(value.bytes);
      }
      bool numeric = node.as == CompareAs::kNumeric;
      auto less = [&](const Column::View& a, const Column::View& b) {
        return (numeric ? CompareNumeric(a, b) : CompareBytes(a, b)) < 0;
      };
      std::sort(list.begin(), list.end(), less);
      truth = ByRow(column, wanted, [&](size_t row) {
        return std::binary_search(list.begin(), list.end(), column.Bytes(row), less);
      });
    }
    if (node.has_null) {  // not found is unknown
      if (!truth.null) truth.null = Bitset(rows_);
      for (size_t w = 0; w < truth.yes.words(); w++) truth.null->data()[w] |= ~truth.yes.data()[w];
      truth.null->Trim();
    }
    return truth;
  }

  Truth InNumbers(const FilterNode& node, const Column& column, const Bitset* wanted) const {
    bool floats = column.kind == Kind::kFloat32 || column.kind == Kind::kFloat64;
    std::vector<double> numbers;
    std::vector<int64_t> integers;
    bool nan = false;
    for (auto& value : node.values) {
      if (value.tag == FilterConstant::kBytes) throw NativeError("XX000", "filter constant is of the wrong kind");
      if (floats) {
        double c = value.tag == FilterConstant::kBigint ? static_cast<double>(value.integer) : value.number;
        if (c != c) {
          nan = true;
        } else {
          numbers.push_back(c);
        }
      } else if (value.tag == FilterConstant::kBigint) {
        integers.push_back(value.integer);
      } else if (value.number == std::floor(value.number) && value.number >= -0x1p63 && value.number < 0x1p63) {
        integers.push_back(static_cast<int64_t>(value.number));
      }
    }
    std::sort(numbers.begin(), numbers.end());
    std::sort(integers.begin(), integers.end());
    return ByRow(column, wanted, [&](size_t row) {
      switch (column.kind) {
        case Kind::kFloat32:
        case Kind::kFloat64: {
          double v = column.kind == Kind::kFloat32 ? column.As<float>()[row] : column.As<double>()[row];
          return v != v ? nan : std::binary_search(numbers.begin(), numbers.end(), v);
        }
        case Kind::kBool:
          return std::binary_search(integers.begin(), integers.end(), int64_t{column.As<uint8_t>()[row]});
        case Kind::kInt16:
          return std::binary_search(integers.begin(), integers.end(), int64_t{column.As<int16_t>()[row]});
        case Kind::kInt32:
          return std::binary_search(integers.begin(), integers.end(), int64_t{column.As<int32_t>()[row]});
        default:
          return std::binary_search(integers.begin(), integers.end(), column.As<int64_t>()[row]);
      }
    });
  }

  Truth Distance(const FilterNode& node, const Column& column, const Bitset* wanted) const {
    PgQuery query = MakePgQuery(node.metric, node.query.data(), column.width);
    Truth truth{Bitset(rows_), {}};
    // Eight rows side by side (the sums are sequential).
    const float* rows[8];
    size_t numbers[8], count = 0;
    double distances[8];
    auto flush = [&] {
      PgDistances(query, rows, count, distances);
      for (size_t i = 0; i < count; i++) {
        if (Holds(node.comparison, CompareFloat(distances[i], node.radius))) truth.yes.Set(numbers[i]);
      }
      count = 0;
    };
    auto each = [&](size_t row) {
      if (!column.Valid(row)) return;
      rows[count] = column.Vector(row);
      numbers[count++] = row;
      if (count == 8) flush();
    };
    if (wanted) {
      ForEachBit(wanted->data(), 0, rows_, each);
    } else {
      for (size_t row = 0; row < rows_; row++) each(row);
    }
    flush();
    return MaskNulls(column, std::move(truth));
  }

  const SegmentState& segment_;
  size_t rows_;
  const Kernels& k_;
};

}  // namespace

Filter::Filter(std::vector<uint8_t> program) : program_(std::move(program)) {
  Reader in(program_.data(), program_.size());
  root_ = Decode(in);
}

void Filter::Evaluate(const SegmentState& segment, size_t rows, Bitset* out) const {
  *out = Evaluator(segment, rows).Eval(root_, nullptr).yes;
}

bool PassingRows(const SegmentState& segment, size_t rows, double at, const Filter& filter, const uint8_t* allowed,
                 Bitset* out, size_t* count) {
  bool visible = !segment.timestamps || segment.timestamps->AllVisible(rows, at);
  if (visible && filter.empty() && !allowed) {
    *count = rows;
    return true;
  }
  bool counted = false;
  if (filter.empty()) {
    out->Reset(rows, true);
  } else {
    // Only segments with an index are worth it: they are sealed, so the same rows come back.
    bool cached = !segment.indexes.empty() && segment.cache;
    auto entry = cached ? segment.cache->Find(filter.program(), rows) : nullptr;
    if (entry) {
      *out = entry->bits;
      *count = entry->count;
      counted = true;
    } else {
      filter.Evaluate(segment, rows, out);
      if (cached) {
        *count = out->Count();
        counted = true;
        segment.cache->Put(std::make_shared<FilterCache::Entry>(FilterCache::Entry{filter.program(), rows, *out, *count}));
      }
    }
  }
  if (!visible) {
    Bitset seen(rows);
    Kernels::Get().visible(segment.timestamps->inserted, segment.timestamps->deleted, rows, at, seen.data());
    out->And(seen);
    counted = false;
  }
  if (allowed) {
    out->AndBytes(allowed);
    counted = false;
  }
  if (!counted) *count = out->Count();
  return *count == rows;
}

}  // namespace elanus
