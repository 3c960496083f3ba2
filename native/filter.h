// The filter machine: programs of src/engine/plan/filter-program.ts (which draws the bytes) to bitsets, three-valued.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bits.h"
#include "segment.h"

namespace elanus {

enum class CompareAs : uint8_t { kNative = 0, kBytes = 1, kNumeric = 2 };
enum class Comparison : uint8_t { kEqual = 0, kNotEqual = 1, kLess = 2, kLessEqual = 3, kGreater = 4, kGreaterEqual = 5 };

struct FilterConstant {
  enum Tag : uint8_t { kNumber = 0, kBigint = 1, kBytes = 2 } tag = kNumber;
  double number = 0;
  int64_t integer = 0;
  Column::View bytes{nullptr, 0};
};

struct FilterNode {
  enum Op : uint8_t {
    kAnd = 1,
    kOr = 2,
    kNot = 3,
    kConstant = 4,
    kIsNull = 5,
    kBoolean = 6,
    kCompare = 7,
    kIn = 8,
    kLike = 9,
    kCompareColumns = 10,
    kDistance = 11,
  } op = kConstant;
  std::vector<FilterNode> args;
  int attnum = 0, other = 0;
  uint8_t constant = 0;  // 0 false, 1 true, 2 null
  Comparison comparison = Comparison::kEqual;
  CompareAs as = CompareAs::kNative;
  bool has_null = false;
  std::vector<FilterConstant> values;
  Metric metric = Metric::kL2;
  double radius = 0;
  std::vector<float> query;
  Column::View pattern{nullptr, 0};
};

/** A decoded program. Points into the bytes it was decoded from, which it owns. */
class Filter {
 public:
  Filter() = default;
  /** @throws NativeError XX000 when the bytes are no program. */
  explicit Filter(std::vector<uint8_t> program);
  bool empty() const { return program_.empty(); }
  const std::vector<uint8_t>& program() const { return program_; }
  /** Bit set = true (not false, not null) for rows 0..rows-1. */
  void Evaluate(const SegmentState& segment, size_t rows, Bitset* out) const;

 private:
  std::vector<uint8_t> program_;
  FilterNode root_;
};

/** Rows visible at `at`, passing the filter and in `allowed` (nullptr: all). Returns whether every row passes. */
bool PassingRows(const SegmentState& segment, size_t rows, double at, const Filter& filter, const uint8_t* allowed,
                 Bitset* out, size_t* count);

// Orders, also used by sorting and aggregates. Less than zero, zero, greater than zero.

int CompareBytes(Column::View a, Column::View b);
/** PostgreSQL's binary numerics by value: -inf < numbers < inf < NaN. Malformed ones order as zero. */
int CompareNumeric(Column::View a, Column::View b);
/** PostgreSQL's order of floats: NaN equals NaN and is greatest. */
inline int CompareFloat(double a, double b) {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a == b) return 0;
  return (a != a) - (b != b);
}
/** Two rows' values, neither NULL, of columns that can be compared. */
int CompareRows(const Column& a, size_t i, const Column& b, size_t j, CompareAs as);
/** @throws NativeError when the column cannot be ordered so. */
void CheckComparable(const Column& column, CompareAs as);

}  // namespace elanus
