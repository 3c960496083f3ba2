// Most decimals have few digits and a small power of ten: digits and power are exact doubles then, one division or
// multiplication rounds correctly (Clinger 1990). A float4 is the double rounded again, which is right unless the
// double lies in the middle between two floats: then, and for all else, std::from_chars or strtof decide.
#include "float-parse.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace elanus::codecs {
namespace {

constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

inline bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

/** Accepts the double as the wanted float if rounding it once more cannot differ from rounding the decimal. */
inline bool Accept(double exact, float* value) {
  uint64_t bits;
  std::memcpy(&bits, &exact, 8);
  if ((bits & 0x1fffffff) == 0x10000000) return false;
  *value = static_cast<float>(exact);
  return true;
}
inline bool Accept(double exact, double* value) {
  *value = exact;
  return true;
}

inline float StringToFloat(const char* text, char** end, float*) { return std::strtof(text, end); }
inline double StringToFloat(const char* text, char** end, double*) { return std::strtod(text, end); }

/** What cannot be a part of a float in any form that strtof takes. */
inline bool MayBelong(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == '.' ||
         c == '(' || c == ')' || c == '_';
}

template <class Float>
const char* ScanSlowly(const char* begin, const char* end, Float* value, FloatRange* range) {
  const char* stop = begin;
  while (stop < end && MayBelong(*stop)) stop++;
  const std::string text(begin, stop);
  char* text_end = nullptr;
  errno = 0;
  *value = StringToFloat(text.c_str(), &text_end, value);
  *range = FloatRange::kFine;
  if (errno == ERANGE && std::isinf(*value)) *range = FloatRange::kOverflow;
  if (errno == ERANGE && *value == 0) *range = FloatRange::kUnderflow;
  return begin + (text_end - text.c_str());
}

template <class Float>
const char* Scan(const char* begin, const char* end, Float* value, FloatRange* range) {
  const char* p = begin;
  bool negative = false;
  if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
  const char* unsigned_begin = p;
  uint64_t digits = 0;
  int count = 0;  // significant digits taken
  int exponent = 0;
  bool any = false;
  bool cut = false;
  if (end - p >= 2 && *p == '0' && (p[1] | 0x20) == 'x') return ScanSlowly(begin, end, value, range);
  for (; p < end && IsDigit(*p); p++) {
    any = true;
    if (count < 19) {
      digits = digits * 10 + (*p - '0');
      count += digits != 0;
    } else {
      cut = true;
      exponent++;
    }
  }
  if (p < end && *p == '.') {
    const char* fraction = p + 1;
    if (any || (fraction < end && IsDigit(*fraction))) {
      for (p = fraction; p < end && IsDigit(*p); p++) {
        any = true;
        if (count < 19) {
          digits = digits * 10 + (*p - '0');
          count += digits != 0;
          exponent--;
        } else {
          cut = true;
        }
      }
    }
  }
  if (!any) return ScanSlowly(begin, end, value, range);
  if (p < end && (*p | 0x20) == 'e') {
    const char* q = p + 1;
    bool down = false;
    if (q < end && (*q == '-' || *q == '+')) down = *q++ == '-';
    if (q < end && IsDigit(*q)) {
      int power = 0;
      for (; q < end && IsDigit(*q); q++) {
        if (power < 100000) power = power * 10 + (*q - '0');
      }
      exponent += down ? -power : power;
      p = q;
    }
  }
  *range = FloatRange::kFine;
  if (digits == 0) {
    *value = negative ? Float(-0.0) : Float(0);
    return p;
  }
  if (!cut && digits < (1ull << 53) && exponent >= -22 && exponent <= 22) {
    const double whole = static_cast<double>(digits);
    const double exact = exponent < 0 ? whole / kPowers[-exponent] : whole * kPowers[exponent];
    if (Accept(exact, value)) {
      if (negative) *value = -*value;
      return p;
    }
  }
  // Far from both ends of the range from_chars needs no copy; near them strtof tells overflow from underflow.
  const int magnitude = exponent + count;
  const int limit = sizeof(Float) == 4 ? 35 : 300;
  if (magnitude > limit || magnitude < -limit) return ScanSlowly(begin, p, value, range);
  Float read = 0;
  std::from_chars(unsigned_begin, p, read);
  *value = negative ? -read : read;
  return p;
}

}  // namespace

const char* ScanFloat4(const char* begin, const char* end, float* value, FloatRange* range) {
  return Scan(begin, end, value, range);
}

const char* ScanFloat8(const char* begin, const char* end, double* value, FloatRange* range) {
  return Scan(begin, end, value, range);
}

}  // namespace elanus::codecs
