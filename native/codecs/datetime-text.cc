// The twin of src/engine/types/datetime-text.ts. Calendar: Howard Hinnant, "chrono-compatible low-level date
// algorithms", proleptic Gregorian.
#include "datetime-text.h"

#include <cstring>
#include <limits>

namespace elanus::codecs {
namespace {

constexpr int64_t kMicrosPerDay = 86400000000;
constexpr int64_t kEpochDays = 10957;  // 2000-01-01 since 1970-01-01

inline bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

struct Cursor {
  const char* p;
  const char* end;
  bool Done() const { return p == end; }
  bool Take(char c) {
    if (p == end || *p != c) return false;
    p++;
    return true;
  }
  bool Digits(int count, int* value) {
    if (end - p < count) return false;
    int read = 0;
    for (int i = 0; i < count; i++) {
      if (!IsDigit(p[i])) return false;
      read = read * 10 + (p[i] - '0');
    }
    *value = read;
    p += count;
    return true;
  }
};

Cursor Trimmed(const char* begin, const char* end) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (begin < end && space(*begin)) begin++;
  while (end > begin && space(end[-1])) end--;
  return {begin, end};
}

/** 1, -1 for [+]infinity, -infinity; else 0. */
int Infinite(Cursor text) {
  const int sign = text.Take('-') ? -1 : 1;
  if (sign == 1) text.Take('+');
  const char* word = "infinity";
  if (text.end - text.p != 8) return 0;
  for (int i = 0; i < 8; i++) {
    if ((text.p[i] | 0x20) != word[i]) return 0;
  }
  return sign;
}

int64_t DaysFromCivil(int64_t y, int m, int d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t yoe = y - era * 400;
  const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468 - kEpochDays;
}

bool TakeDate(Cursor* text, int64_t* days) {
  int y, m, d;
  if (!text->Digits(4, &y) || !text->Take('-') || !text->Digits(2, &m) || !text->Take('-') || !text->Digits(2, &d)) {
    return false;
  }
  if (y < 1 || m < 1 || m > 12 || d < 1) return false;
  const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (d > kDays[m - 1] + (m == 2 && leap)) return false;
  *days = DaysFromCivil(y, m, d);
  return true;
}

bool TakeTime(Cursor* text, int typmod, int64_t* micros) {
  int h, m, s = 0, fraction = 0;
  if (!text->Digits(2, &h) || !text->Take(':') || !text->Digits(2, &m)) return false;
  if (text->Take(':')) {
    if (!text->Digits(2, &s)) return false;
    if (text->Take('.')) {
      int count = 0;
      for (; !text->Done() && IsDigit(*text->p) && count < 7; text->p++, count++) {
        fraction = fraction * 10 + (*text->p - '0');
      }
      // More digits are rounded: PostgreSQL's business.
      if (count == 0 || count > 6 || (typmod >= 0 && count > typmod)) return false;
      for (; count < 6; count++) fraction *= 10;
    }
  }
  if (h > 23 || m > 59 || s > 59) return false;
  *micros = ((h * 60ll + m) * 60 + s) * 1000000 + fraction;
  return true;
}

/** 'Z', '+02', '-0800', '+05:30' after an optional space; nothing: *present false. */
bool TakeOffset(Cursor* text, bool* present, int64_t* micros) {
  *present = false;
  *micros = 0;
  if (text->Done()) return true;
  text->Take(' ');
  *present = true;
  if (text->Take('Z')) return true;
  const bool west = text->Take('-');
  if (!west && !text->Take('+')) return false;
  int h, m = 0;
  if (!text->Digits(2, &h)) return false;
  if (!text->Done()) {
    text->Take(':');
    if (!text->Digits(2, &m)) return false;
  }
  if (h > 15 || m > 59) return false;  // MAX_TZDISP_HOUR
  *micros = (h * 60ll + m) * 60000000 * (west ? -1 : 1);
  return true;
}

char* Two(int value, char* out) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
  return out + 2;
}

/** Returns the end; *before_christ says whether ' BC' is still to follow. */
char* WriteDate(int64_t days, char* out, bool* before_christ) {
  const int64_t z = days + kEpochDays + 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const int64_t doe = z - era * 146097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const int64_t mp = (5 * doy + 2) / 153;
  const int day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  const int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  int64_t year = yoe + era * 400 + (month <= 2);
  *before_christ = year <= 0;
  if (year <= 0) year = 1 - year;
  char digits[24];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + year % 10);
    year /= 10;
  } while (year > 0 || count < 4);
  while (count > 0) *out++ = digits[--count];
  *out++ = '-';
  out = Two(month, out);
  *out++ = '-';
  return Two(day, out);
}

char* WriteTime(int64_t micros, char* out) {
  const int64_t seconds = micros / 1000000;
  int64_t fraction = micros % 1000000;
  out = Two(static_cast<int>(seconds / 3600 % 100), out);
  *out++ = ':';
  out = Two(static_cast<int>(seconds / 60 % 60), out);
  *out++ = ':';
  out = Two(static_cast<int>(seconds % 60), out);
  if (fraction == 0) return out;
  *out++ = '.';
  for (int64_t unit = 100000; fraction > 0; unit /= 10) {
    *out++ = static_cast<char>('0' + fraction / unit);
    fraction %= unit;
  }
  return out;
}

size_t Word(const char* word, char* out) {
  const size_t size = std::strlen(word);
  std::memcpy(out, word, size);
  return size;
}

}  // namespace

bool ParseDate(const char* begin, const char* end, int32_t* days) {
  Cursor text = Trimmed(begin, end);
  if (const int sign = Infinite(text)) {
    *days = sign > 0 ? std::numeric_limits<int32_t>::max() : std::numeric_limits<int32_t>::min();
    return true;
  }
  int64_t read;
  if (!TakeDate(&text, &read) || !text.Done()) return false;
  *days = static_cast<int32_t>(read);
  return true;
}

bool ParseTime(const char* begin, const char* end, int typmod, int64_t* micros) {
  Cursor text = Trimmed(begin, end);
  return TakeTime(&text, typmod, micros) && text.Done();
}

bool ParseTimestamp(const char* begin, const char* end, int typmod, bool zoned, bool utc, int64_t* micros) {
  Cursor text = Trimmed(begin, end);
  if (const int sign = Infinite(text)) {
    *micros = sign > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
    return true;
  }
  int64_t days, time = 0, offset = 0;
  bool present = false;
  if (!TakeDate(&text, &days)) return false;
  if (!text.Done()) {
    if (!text.Take(' ') && !text.Take('T')) return false;
    if (!TakeTime(&text, typmod, &time) || !TakeOffset(&text, &present, &offset) || !text.Done()) return false;
  }
  if (zoned && !present && !utc) return false;
  *micros = days * kMicrosPerDay + time - (zoned ? offset : 0);
  return true;
}

size_t FormatDate(int32_t days, char* out) {
  if (days == std::numeric_limits<int32_t>::max()) return Word("infinity", out);
  if (days == std::numeric_limits<int32_t>::min()) return Word("-infinity", out);
  bool before_christ;
  char* p = WriteDate(days, out, &before_christ);
  if (before_christ) p += Word(" BC", p);
  return p - out;
}

size_t FormatTime(int64_t micros, char* out) {
  // A damaged value must not run past the buffer.
  if (micros < 0 || micros > kMicrosPerDay) micros = 0;
  return WriteTime(micros, out) - out;
}

size_t FormatTimestamp(int64_t micros, bool zoned, char* out) {
  if (micros == std::numeric_limits<int64_t>::max()) return Word("infinity", out);
  if (micros == std::numeric_limits<int64_t>::min()) return Word("-infinity", out);
  int64_t days = micros / kMicrosPerDay;
  int64_t time = micros % kMicrosPerDay;
  if (time < 0) {
    time += kMicrosPerDay;
    days--;
  }
  bool before_christ;
  char* p = WriteDate(days, out, &before_christ);
  *p++ = ' ';
  p = WriteTime(time, p);
  if (zoned) p += Word("+00", p);
  if (before_christ) p += Word(" BC", p);
  return p - out;
}

}  // namespace elanus::codecs
