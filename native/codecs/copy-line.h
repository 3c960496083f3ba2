// Where lines of COPY text and CSV end.
#pragma once
#include "copy-read.h"

namespace elanus::codecs {

enum class NewlineStyle { kUnknown, kLf, kCr, kCrLf };

struct Line {
  enum class Status { kWhole, kIncomplete, kEnd, kError };
  Status status;
  /** The line without its newline. */
  const char* begin;
  const char* end;
  /** Where the next one begins. */
  const char* next;
  /** kWhole: lines of the file it took. */
  size_t lines;
};

/**
 * Finds the line that begins at `begin`. Sets the style with the first newline; another style later is an error
 * (22P04). kEnd: \. alone on the line (text only: since PostgreSQL 18 CSV has no marker). kIncomplete: no newline
 * before `end`, and nothing wrong so far.
 */
Line ScanLine(const char* begin, const char* end, bool final, const CopyTextFormat& format, NewlineStyle* style,
              CopyError* error);

/** First of up to four characters, or `end`. */
const char* FindAny(const char* begin, const char* end, char a, char b, char c, char d);

}  // namespace elanus::codecs
