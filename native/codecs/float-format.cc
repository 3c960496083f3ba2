// Shortest digits by Ryu (Ulf Adams, PLDI 2018) with open intervals: PostgreSQL's src/common/f2s.c and d2s.c never
// print a decimal that lies exactly on the border of the interval that reads back as the value, std::to_chars does.
// float4: Ryu itself, tables computed at start. float8: std::to_chars, corrected for borders, which only exist for
// |value| >= 2^53: d * 10^k = (odd) * 2^(e-1) with k < 0 needs more digits than the value's own.
#include "float-format.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace elanus::codecs {
namespace {

struct Decimal {
  uint64_t digits;
  int exponent;  // value = digits * 10^exponent
};

constexpr int kInverseBits = 59;
constexpr int kPowerBits = 61;

constexpr int Pow5Bits(int e) { return static_cast<int>((static_cast<uint32_t>(e) * 1217359u) >> 19) + 1; }
constexpr int Log10Pow2(int e) { return static_cast<int>((static_cast<uint32_t>(e) * 78913u) >> 18); }
constexpr int Log10Pow5(int e) { return static_cast<int>((static_cast<uint32_t>(e) * 732923u) >> 20); }

struct Tables {
  uint64_t inverse[31];
  uint64_t power[48];
};

constexpr Tables MakeTables() {
  Tables tables{};
  unsigned __int128 power = 1;
  for (int i = 0; i < 48; i++) {
    const int shift = Pow5Bits(i) - kPowerBits;
    tables.power[i] = static_cast<uint64_t>(shift >= 0 ? power >> shift : power << -shift);
    if (i < 31) {
      const int bits = Pow5Bits(i) - 1 + kInverseBits;
      // 2^128 - 1 instead of 2^128 gives the same quotient: 5^i divides neither.
      const unsigned __int128 numerator =
          bits >= 128 ? ~static_cast<unsigned __int128>(0) : static_cast<unsigned __int128>(1) << bits;
      tables.inverse[i] = static_cast<uint64_t>(numerator / power) + 1;
    }
    power *= 5;
  }
  return tables;
}
constexpr Tables kTables = MakeTables();

inline uint32_t MulShift(uint32_t m, uint64_t factor, int shift) {
  const uint64_t low = static_cast<uint64_t>(m) * static_cast<uint32_t>(factor);
  const uint64_t high = static_cast<uint64_t>(m) * static_cast<uint32_t>(factor >> 32);
  return static_cast<uint32_t>(((low >> 32) + high) >> (shift - 32));
}
inline uint32_t MulInverse(uint32_t m, int q, int shift) { return MulShift(m, kTables.inverse[q], shift); }
inline uint32_t MulPower(uint32_t m, int i, int shift) { return MulShift(m, kTables.power[i], shift); }

bool MultipleOfPowerOf5(uint32_t value, int power) {
  while (power > 0 && value % 5 == 0) {
    value /= 5;
    power--;
  }
  return power <= 0;
}

Decimal Shortest(uint32_t mantissa, uint32_t exponent) {
  const int e2 = exponent == 0 ? 1 - 127 - 23 - 2 : static_cast<int>(exponent) - 127 - 23 - 2;
  const uint32_t m2 = exponent == 0 ? mantissa : (1u << 23) | mantissa;
  const uint32_t mm_shift = mantissa != 0 || exponent <= 1;
  const uint32_t mv = 4 * m2, mp = 4 * m2 + 2, mm = 4 * m2 - 1 - mm_shift;
  uint32_t vr, vp, vm;
  int e10;
  bool vr_trailing_zeros = false;
  uint32_t last_removed = 0;
  if (e2 >= 0) {
    const int q = Log10Pow2(e2);
    e10 = q;
    const int shift = -e2 + q + kInverseBits + Pow5Bits(q) - 1;
    vr = MulInverse(mv, q, shift);
    vp = MulInverse(mp, q, shift);
    vm = MulInverse(mm, q, shift);
    if (q != 0 && (vp - 1) / 10 <= vm / 10) {
      last_removed = MulInverse(mv, q - 1, -e2 + q - 1 + kInverseBits + Pow5Bits(q - 1) - 1) % 10;
    }
    if (q <= 9) {
      if (mv % 5 == 0) {
        vr_trailing_zeros = MultipleOfPowerOf5(mv, q);
      } else {
        vp -= MultipleOfPowerOf5(mp, q);
      }
    }
  } else {
    const int q = Log10Pow5(-e2);
    e10 = q + e2;
    const int i = -e2 - q;
    const int shift = q - (Pow5Bits(i) - kPowerBits);
    vr = MulPower(mv, i, shift);
    vp = MulPower(mp, i, shift);
    vm = MulPower(mm, i, shift);
    if (q != 0 && (vp - 1) / 10 <= vm / 10) {
      last_removed = MulPower(mv, i + 1, q - 1 - (Pow5Bits(i + 1) - kPowerBits)) % 10;
    }
    if (q <= 1) {
      vr_trailing_zeros = true;
      vp--;
    } else if (q < 31) {
      vr_trailing_zeros = (mv & ((1u << (q - 1)) - 1)) == 0;
    }
  }
  int removed = 0;
  while (vp / 10 > vm / 10) {
    vr_trailing_zeros &= last_removed == 0;
    last_removed = vr % 10;
    vr /= 10;
    vp /= 10;
    vm /= 10;
    removed++;
  }
  if (vr_trailing_zeros && last_removed == 5 && vr % 2 == 0) last_removed = 4;
  return {vr + (vr == vm || last_removed >= 5), e10 + removed};
}

int CountDigits(uint64_t value) {
  int count = 1;
  while (value >= 10) {
    value /= 10;
    count++;
  }
  return count;
}

void WriteDigits(uint64_t value, int count, char* out) {
  for (int i = count - 1; i >= 0; i--) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

/** to_chars of f2s.c and d2s.c: plain when -4 <= exponent < limit, else scientific with two exponent digits or more. */
size_t LayOut(Decimal decimal, int limit, char* out) {
  char digits[24];
  int count = CountDigits(decimal.digits);
  WriteDigits(decimal.digits, count, digits);
  const int exponent = decimal.exponent + count - 1;
  while (count > 1 && digits[count - 1] == '0') count--;
  char* p = out;
  if (exponent < -4 || exponent >= limit) {
    *p++ = digits[0];
    if (count > 1) {
      *p++ = '.';
      std::memcpy(p, digits + 1, count - 1);
      p += count - 1;
    }
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    int size = exponent < 0 ? -exponent : exponent;
    if (size >= 100) {
      *p++ = static_cast<char>('0' + size / 100);
      size %= 100;
    }
    *p++ = static_cast<char>('0' + size / 10);
    *p++ = static_cast<char>('0' + size % 10);
  } else if (exponent < 0) {
    *p++ = '0';
    *p++ = '.';
    for (int i = -1; i > exponent; i--) *p++ = '0';
    std::memcpy(p, digits, count);
    p += count;
  } else if (count <= exponent + 1) {
    std::memcpy(p, digits, count);
    p += count;
    for (int i = count; i <= exponent; i++) *p++ = '0';
  } else {
    std::memcpy(p, digits, exponent + 1);
    p += exponent + 1;
    *p++ = '.';
    std::memcpy(p, digits + exponent + 1, count - exponent - 1);
    p += count - exponent - 1;
  }
  return p - out;
}

size_t Copy(const char* text, char* out) {
  const size_t size = std::strlen(text);
  std::memcpy(out, text, size);
  return size;
}

/** Digits and exponent of std::to_chars' scientific form. precision < 0: shortest. */
Decimal Scientific(double value, int precision) {
  char text[40];
  const auto result = precision < 0
                          ? std::to_chars(text, text + sizeof text, value, std::chars_format::scientific)
                          : std::to_chars(text, text + sizeof text, value, std::chars_format::scientific, precision);
  Decimal decimal{0, 0};
  const char* p = text;
  int fraction = 0;
  bool point = false;
  for (; *p != 'e'; p++) {
    if (*p == '.') {
      point = true;
    } else {
      decimal.digits = decimal.digits * 10 + (*p - '0');
      fraction += point;
    }
  }
  p++;
  if (*p == '+') p++;
  std::from_chars(p, result.ptr, decimal.exponent);
  decimal.exponent -= fraction;
  return decimal;
}

/** Whether digits * 10^exponent is odd * 2^power, exactly; `odd` below 2^55. */
bool Equals(Decimal decimal, uint64_t odd, int power) {
  if (decimal.digits == 0 || decimal.exponent < 0) return false;
  const int zeros = __builtin_ctzll(decimal.digits);
  if (zeros + decimal.exponent != power) return false;
  for (int i = 0; i < decimal.exponent; i++) {
    if (odd % 5 != 0) return false;
    odd /= 5;
  }
  return odd == decimal.digits >> zeros;
}

struct Borders {
  uint64_t upper, lower;
  int upper_power, lower_power;
  bool Contain(Decimal decimal) const {
    return Equals(decimal, upper, upper_power) || Equals(decimal, lower, lower_power);
  }
};

bool ReadsBack(Decimal decimal, double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%llue%d", static_cast<unsigned long long>(decimal.digits), decimal.exponent);
  return std::strtod(text, nullptr) == value;
}

Decimal Shortest8(double value) {
  Decimal decimal = Scientific(value, -1);
  if (value < 9007199254740992.0) return decimal;
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  const uint64_t mantissa = (bits & 0xfffffffffffffull) | 0x10000000000000ull;
  const int exponent = static_cast<int>(bits >> 52) - 1075;
  const bool power_of_two = (bits & 0xfffffffffffffull) == 0;
  const Borders borders{2 * mantissa + 1, power_of_two ? 4 * mantissa - 1 : 2 * mantissa - 1, exponent - 1,
                        power_of_two ? exponent - 2 : exponent - 1};
  if (!borders.Contain(decimal)) return decimal;
  for (int precision = CountDigits(decimal.digits) - 1; precision < 16; precision++) {
    decimal = Scientific(value, precision);
    if (!borders.Contain(decimal) && ReadsBack(decimal, value)) return decimal;
    // At a power of two the lower border is nearer: the next decimal above may lie inside.
    const Decimal above{decimal.digits + 1, decimal.exponent};
    if (!borders.Contain(above) && ReadsBack(above, value)) return above;
  }
  return Scientific(value, 16);
}

}  // namespace

size_t FormatFloat4(float value, char* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t mantissa = bits & 0x7fffff;
  const uint32_t exponent = (bits >> 23) & 0xff;
  if (exponent == 0xff && mantissa) return Copy("NaN", out);
  size_t sign = 0;
  if (bits >> 31) out[sign++] = '-';
  if (exponent == 0xff) return sign + Copy("Infinity", out + sign);
  if (exponent == 0 && mantissa == 0) return sign + Copy("0", out + sign);
  return sign + LayOut(Shortest(mantissa, exponent), 6, out + sign);
}

size_t FormatFloat8(double value, char* out) {
  if (value != value) return Copy("NaN", out);
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  size_t sign = 0;
  if (bits >> 63) {
    out[sign++] = '-';
    value = -value;
  }
  if (value == 0) return sign + Copy("0", out + sign);
  if ((bits & 0x7fffffffffffffffull) == 0x7ff0000000000000ull) return sign + Copy("Infinity", out + sign);
  return sign + LayOut(Shortest8(value), 15, out + sign);
}

}  // namespace elanus::codecs
