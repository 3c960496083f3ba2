// date, time, timestamp and timestamptz in ISO form; what is not plain ISO is left to PostgreSQL.
#pragma once
#include <cstddef>
#include <cstdint>

namespace elanus::codecs {

constexpr size_t kDateTimeTextMax = 48;

/** True when taken. Days since 2000-01-01. */
bool ParseDate(const char* begin, const char* end, int32_t* days);
/** Microseconds since midnight. typmod: digits of the fraction that may stand without rounding; -1: six. */
bool ParseTime(const char* begin, const char* end, int typmod, int64_t* micros);
/**
 * Microseconds since 2000-01-01. zoned: timestamptz, whose text without an offset is taken when `utc` (the session's
 * zone is UTC); else an offset in the text is ignored.
 */
bool ParseTimestamp(const char* begin, const char* end, int typmod, bool zoned, bool utc, int64_t* micros);

/** Write at most kDateTimeTextMax characters; return how many. */
size_t FormatDate(int32_t days, char* out);
size_t FormatTime(int64_t micros, char* out);
/** zoned: '+00' follows. */
size_t FormatTimestamp(int64_t micros, bool zoned, char* out);

}  // namespace elanus::codecs
