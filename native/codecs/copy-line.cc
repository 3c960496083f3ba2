// Follows CopyReadLineText of PostgreSQL's copyfromparse.c in what ends a line and in the words of errors.
#include "copy-line.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace elanus::codecs {

const char* FindAny(const char* p, const char* end, char a, char b, char c, char d) {
#if defined(__SSE2__)
  const __m128i va = _mm_set1_epi8(a), vb = _mm_set1_epi8(b), vc = _mm_set1_epi8(c), vd = _mm_set1_epi8(d);
  while (end - p >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, va), _mm_cmpeq_epi8(bytes, vb)),
                                       _mm_or_si128(_mm_cmpeq_epi8(bytes, vc), _mm_cmpeq_epi8(bytes, vd)));
    const int mask = _mm_movemask_epi8(found);
    if (mask != 0) return p + __builtin_ctz(mask);
    p += 16;
  }
#endif
  while (p < end && *p != a && *p != b && *p != c && *p != d) p++;
  return p;
}

namespace {

Line Fail(CopyError* error, const char* at, std::string message, const char* hint = "") {
  error->set = true;
  error->value = {"22P04", std::move(message), {}};
  error->hint = hint;
  return {Line::Status::kError, at, at, at, 0};
}

Line LiteralNewline(CopyError* error, const char* at, bool csv, bool carriage_return) {
  const std::string what = carriage_return ? "carriage return" : "newline";
  if (csv) {
    return Fail(error, at, "unquoted " + what + " found in data",
                carriage_return ? "Use quoted CSV field to represent carriage return."
                                : "Use quoted CSV field to represent newline.");
  }
  return Fail(error, at, "literal " + what + " found in data",
              carriage_return ? "Use \"\\r\" to represent carriage return." : "Use \"\\n\" to represent newline.");
}

enum class Newline { kYes, kIncomplete, kWrong };

/** At a CR or LF outside quotes: is it this file's newline, and how long. */
Newline TakeNewline(const char* p, const char* end, bool final, NewlineStyle* style, size_t* length) {
  *length = 1;
  if (*p == '\n') {
    if (*style == NewlineStyle::kUnknown) *style = NewlineStyle::kLf;
    return *style == NewlineStyle::kLf ? Newline::kYes : Newline::kWrong;
  }
  if (*style == NewlineStyle::kLf) return Newline::kWrong;
  if (*style == NewlineStyle::kCr) return Newline::kYes;
  if (end - p < 2 && !final) return Newline::kIncomplete;
  if (end - p >= 2 && p[1] == '\n') {
    *style = NewlineStyle::kCrLf;
    *length = 2;
    return Newline::kYes;
  }
  if (*style == NewlineStyle::kCrLf) return Newline::kWrong;
  *style = NewlineStyle::kCr;
  return Newline::kYes;
}

/** Behind \. : the newline of this file's style must follow. */
Line EndMarker(const char* begin, const char* marker, const char* end, bool final, NewlineStyle style,
               CopyError* error) {
  const char* p = marker + 2;
  const auto incomplete = [&] { return Line{Line::Status::kIncomplete, begin, end, begin, 0}; };
  const auto alone = "end-of-copy marker is not alone on its line";
  const auto mismatch = "end-of-copy marker does not match previous newline style";
  if (p == end && !final) return incomplete();
  if (style == NewlineStyle::kCrLf) {
    if (p < end && *p == '\n') return Fail(error, begin, mismatch);
    if (p == end || *p != '\r') return Fail(error, begin, alone);
    p++;
    if (p == end && !final) return incomplete();
  }
  // The end of the input is no newline here.
  if (p == end || (*p != '\r' && *p != '\n')) return Fail(error, begin, alone);
  if (((style == NewlineStyle::kLf && *p != '\n') || (style == NewlineStyle::kCrLf && *p != '\n') ||
       (style == NewlineStyle::kCr && *p != '\r'))) {
    return Fail(error, begin, mismatch);
  }
  if (marker != begin) return Fail(error, begin, alone);
  return {Line::Status::kEnd, begin, marker, p + 1, 1};
}

Line AtEnd(const char* begin, const char* end, bool final, size_t lines) {
  if (!final || begin == end) return {Line::Status::kIncomplete, begin, end, begin, 0};
  return {Line::Status::kWhole, begin, end, end, lines};
}

Line ScanTextLine(const char* begin, const char* end, bool final, NewlineStyle* style, CopyError* error) {
  const char* p = begin;
  for (;;) {
    p = FindAny(p, end, '\n', '\r', '\\', '\n');
    if (p == end) return AtEnd(begin, end, final, 1);
    if (*p == '\\') {
      if (end - p < 2) return AtEnd(begin, end, final, 1);
      if (p[1] == '.') return EndMarker(begin, p, end, final, *style, error);
      p += 2;
      continue;
    }
    size_t length;
    switch (TakeNewline(p, end, final, style, &length)) {
      case Newline::kYes:
        return {Line::Status::kWhole, begin, p, p + length, 1};
      case Newline::kIncomplete:
        return {Line::Status::kIncomplete, begin, end, begin, 0};
      case Newline::kWrong:
        return LiteralNewline(error, begin, false, *p == '\r');
    }
  }
}

Line ScanCsvLine(const char* begin, const char* end, bool final, const CopyTextFormat& format, NewlineStyle* style,
                 CopyError* error) {
  const bool own_escape = format.escape != format.quote;
  bool in_quote = false;
  bool last_was_escape = false;
  size_t lines = 1;
  const char* p = begin;
  while (p < end) {
    // Between these nothing changes the state, except that an escape only works on the very next character.
    if (!last_was_escape) {
      p = FindAny(p, end, '\n', '\r', format.quote, format.escape);
      if (p == end) break;
    }
    const char c = *p;
    if (own_escape && in_quote && c == format.escape) last_was_escape = !last_was_escape;
    if (c == format.quote && !last_was_escape) in_quote = !in_quote;
    if (!own_escape || c != format.escape) last_was_escape = false;
    if (in_quote || (c != '\n' && c != '\r')) {
      if (in_quote && c == (*style == NewlineStyle::kLf ? '\n' : '\r')) lines++;
      p++;
      continue;
    }
    size_t length;
    switch (TakeNewline(p, end, final, style, &length)) {
      case Newline::kYes:
        return {Line::Status::kWhole, begin, p, p + length, lines};
      case Newline::kIncomplete:
        return {Line::Status::kIncomplete, begin, end, begin, 0};
      case Newline::kWrong:
        return LiteralNewline(error, begin, true, c == '\r');
    }
  }
  return AtEnd(begin, end, final, lines);
}

}  // namespace

Line ScanLine(const char* begin, const char* end, bool final, const CopyTextFormat& format, NewlineStyle* style,
              CopyError* error) {
  return format.csv ? ScanCsvLine(begin, end, final, format, style, error)
                    : ScanTextLine(begin, end, final, style, error);
}

}  // namespace elanus::codecs
