// The twin of src/engine/types/numeric-text.ts. Layout and signs: PostgreSQL's numeric.c, numeric_send.
#include "numeric-text.h"

namespace elanus::codecs {
namespace {

constexpr int kNegative = 0x4000;
constexpr int kNan = 0xc000;
constexpr int kInfinity = 0xd000;
constexpr int kNegativeInfinity = 0xf000;
constexpr int kHeaderSize = 4;  // VARHDRSZ, part of a typmod
/** Far below numeric.c's limits, where the form is simple. */
constexpr int kDigitsMax = 1000;

inline bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

void WriteHeader(uint8_t* to, int count, int weight, int sign, int scale) {
  StoreBig16(to, static_cast<uint16_t>(count));
  StoreBig16(to + 2, static_cast<uint16_t>(weight));
  StoreBig16(to + 4, static_cast<uint16_t>(sign));
  StoreBig16(to + 6, static_cast<uint16_t>(scale));
}

/** apply_typmod where it changes nothing but the scale shown. */
bool FitsTypmod(int typmod, int whole, int fraction, int* scale) {
  *scale = fraction;
  if (typmod < kHeaderSize) return true;
  const int precision = ((typmod - kHeaderSize) >> 16) & 0xffff;
  *scale = (((typmod - kHeaderSize) & 0x7ff) ^ 1024) - 1024;
  return *scale >= 0 && fraction <= *scale && whole <= precision - *scale;
}

}  // namespace

bool ParseNumeric(const char* p, const char* end, int typmod, Bytes* out) {
  while (p < end && IsSpace(*p)) p++;
  while (end > p && IsSpace(end[-1])) end--;
  if (end - p == 3 && (p[0] | 0x20) == 'n' && (p[1] | 0x20) == 'a' && (p[2] | 0x20) == 'n') {
    WriteHeader(out->Grow(8), 0, 0, kNan, 0);
    return true;
  }
  bool negative = false;
  if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
  const char* whole = p;
  while (p < end && IsDigit(*p)) p++;
  const char* whole_end = p;
  const char* fraction = p;
  if (p < end && *p == '.') {
    fraction = ++p;
    while (p < end && IsDigit(*p)) p++;
  }
  const int fraction_size = static_cast<int>(p - fraction);
  if (p != end || (whole == whole_end && fraction_size == 0)) return false;
  while (whole < whole_end && *whole == '0') whole++;
  if (whole_end - whole > kDigitsMax || p - fraction > kDigitsMax) return false;
  const int whole_size = static_cast<int>(whole_end - whole);
  int scale;
  if (!FitsTypmod(typmod, whole_size, fraction_size, &scale)) return false;

  // Groups of four, aligned at the point: `position` counts digits from the first group's start.
  uint16_t groups[2 * (kDigitsMax / 4 + 1)];
  const int whole_groups = (whole_size + 3) / 4;
  const int total = whole_groups + (fraction_size + 3) / 4;
  const int lead = whole_groups * 4 - whole_size;
  for (int group = 0; group < total; group++) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
      const int position = group * 4 + i;
      int digit = 0;
      if (group < whole_groups) {
        if (position >= lead) digit = whole[position - lead] - '0';
      } else if (position - whole_groups * 4 < fraction_size) {
        digit = fraction[position - whole_groups * 4] - '0';
      }
      value = value * 10 + digit;
    }
    groups[group] = static_cast<uint16_t>(value);
  }
  int first = 0, last = total;
  while (first < last && groups[first] == 0) first++;
  while (last > first && groups[last - 1] == 0) last--;
  const int count = last - first;
  uint8_t* to = out->Grow(8 + 2 * static_cast<size_t>(count));
  WriteHeader(to, count, count == 0 ? 0 : whole_groups - 1 - first, negative && count > 0 ? kNegative : 0, scale);
  for (int i = 0; i < count; i++) StoreBig16(to + 8 + 2 * i, groups[first + i]);
  return true;
}

bool FormatNumeric(const uint8_t* data, size_t size, Bytes* out) {
  if (size < 8 || size != 8 + 2 * static_cast<size_t>(LoadBig16(data))) return false;
  const int count = LoadBig16(data);
  const int weight = static_cast<int16_t>(LoadBig16(data + 2));
  const int sign = LoadBig16(data + 4);
  const int scale = LoadBig16(data + 6);
  const auto word = [&](const char* text) {
    out->Append(text, std::strlen(text));
    return true;
  };
  if (sign == kNan) return word("NaN");
  if (sign == kInfinity) return word("Infinity");
  if (sign == kNegativeInfinity) return word("-Infinity");
  const auto group = [&](int position, char* text) {
    int value = position < 0 || position >= count ? 0 : LoadBig16(data + 8 + 2 * position) % 10000;
    for (int i = 3; i >= 0; i--) {
      text[i] = static_cast<char>('0' + value % 10);
      value /= 10;
    }
  };
  if (sign == kNegative) out->Push('-');
  char text[4];
  bool any = false;
  for (int i = 0; i <= weight; i++) {
    group(i, text);
    for (const char digit : text) {
      any |= digit != '0';
      if (any) out->Push(digit);
    }
  }
  if (!any) out->Push('0');
  if (scale == 0) return true;
  out->Push('.');
  int left = scale;
  for (int i = weight + 1; left > 0; i++, left -= 4) {
    group(i, text);
    out->Append(text, left < 4 ? left : 4);
  }
  return true;
}

}  // namespace elanus::codecs
