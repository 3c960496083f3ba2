// Orders of values: bytes, PostgreSQL's numerics, floats.
#include <algorithm>
#include <cstring>

#include "error.h"
#include "filter.h"

namespace elanus {
namespace {

/**
 * numeric_send: int16 ndigits, weight, sign, dscale, then digits base 10000, all big-endian. The value is
 * sum(digit[i] * 10000^(weight - i)). Source: src/backend/utils/adt/numeric.c.
 */
struct Numeric {
  enum Class { kNegativeInfinity = -1, kFinite = 0, kInfinity = 1, kNaN = 2 } kind = kFinite;
  int sign = 0;  // of a finite value
  int weight = 0;
  size_t digits = 0;
  const uint8_t* data = nullptr;
  int Digit(size_t i) const { return i < digits ? data[2 * i] << 8 | data[2 * i + 1] : 0; }
};

Numeric ReadNumeric(Column::View v) {
  Numeric n;
  if (v.size < 8) return n;
  auto read16 = [&](size_t at) { return v.data[at] << 8 | v.data[at + 1]; };
  int sign = read16(4);
  if (sign == 0xC000) n.kind = Numeric::kNaN;
  if (sign == 0xD000) n.kind = Numeric::kInfinity;
  if (sign == 0xF000) n.kind = Numeric::kNegativeInfinity;
  if (n.kind != Numeric::kFinite) return n;
  n.weight = static_cast<int16_t>(read16(2));
  n.digits = std::min<size_t>(read16(0), (v.size - 8) / 2);
  n.data = v.data + 8;
  while (n.digits > 0 && n.Digit(0) == 0) {
    n.data += 2;
    n.digits--;
    n.weight--;
  }
  n.sign = n.digits == 0 ? 0 : sign == 0x4000 ? -1 : 1;
  return n;
}

}  // namespace

int CompareBytes(Column::View a, Column::View b) {
  size_t n = std::min(a.size, b.size);
  int c = n ? std::memcmp(a.data, b.data, n) : 0;
  return c != 0 ? c : (a.size > b.size) - (a.size < b.size);
}

int CompareNumeric(Column::View left, Column::View right) {
  Numeric a = ReadNumeric(left), b = ReadNumeric(right);
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.kind != Numeric::kFinite) return 0;
  if (a.sign != b.sign) return a.sign < b.sign ? -1 : 1;
  if (a.sign == 0) return 0;
  if (a.weight != b.weight) return (a.weight < b.weight ? -1 : 1) * a.sign;
  size_t n = std::max(a.digits, b.digits);
  for (size_t i = 0; i < n; i++) {
    int d = a.Digit(i) - b.Digit(i);
    if (d != 0) return (d < 0 ? -1 : 1) * a.sign;
  }
  return 0;
}

void CheckComparable(const Column& column, CompareAs as) {
  bool bytes = column.kind == Kind::kBytes || column.kind == Kind::kFixed;
  if (column.kind == Kind::kVector || bytes != (as != CompareAs::kNative) ||
      (as == CompareAs::kNumeric && column.kind != Kind::kBytes)) {
    throw NativeError("XX000", "column cannot be compared this way");
  }
}

int CompareRows(const Column& a, size_t i, const Column& b, size_t j, CompareAs as) {
  if (as == CompareAs::kNumeric) return CompareNumeric(a.Bytes(i), b.Bytes(j));
  if (as == CompareAs::kBytes) return CompareBytes(a.Bytes(i), b.Bytes(j));
  auto integer = [](const Column& c, size_t row, int64_t* out) {
    switch (c.kind) {
      case Kind::kBool:
        *out = c.As<uint8_t>()[row];
        return true;
      case Kind::kInt16:
        *out = c.As<int16_t>()[row];
        return true;
      case Kind::kInt32:
        *out = c.As<int32_t>()[row];
        return true;
      case Kind::kInt64:
        *out = c.As<int64_t>()[row];
        return true;
      default:
        return false;
    }
  };
  int64_t x = 0, y = 0;
  bool left = integer(a, i, &x), right = integer(b, j, &y);
  if (left && right) return (x > y) - (x < y);
  auto number = [](const Column& c, size_t row) {
    return c.kind == Kind::kFloat32 ? static_cast<double>(c.As<float>()[row]) : c.As<double>()[row];
  };
  return CompareFloat(left ? static_cast<double>(x) : number(a, i), right ? static_cast<double>(y) : number(b, j));
}

}  // namespace elanus
