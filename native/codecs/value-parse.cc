// The twin of src/engine/types/parse-text.ts, writing into columns instead of send format.
#include "value-parse.h"

#include <cmath>
#include <limits>

#include "datetime-text.h"
#include "float-parse.h"
#include "numeric-text.h"
#include "utf8.h"
#include "vector-text.h"

namespace elanus::codecs {
namespace {

constexpr int kHeaderSize = 4;  // VARHDRSZ

inline bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

Outcome Fail(ValueError* error, const char* sql_state, std::string message) {
  *error = {sql_state, std::move(message), {}};
  return Outcome::kError;
}

Outcome Invalid(ValueError* error, const char* type, const char* begin, const char* end) {
  return Fail(error, "22P02",
              std::string("invalid input syntax for type ") + type + ": " + Quoted(begin, end));
}

template <class T>
void PutRow(ColumnSink* sink, T value) {
  std::memcpy(sink->Next(), &value, sizeof value);
  sink->Commit();
}

inline int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  const char lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/** 0x1f, 0o17, 0b11, 1_000 (pg_strtoint32_safe): integers too, read by PostgreSQL. Spaces may follow. */
bool IsOtherInteger(const char* p, const char* end) {
  while (end > p && IsSpace(end[-1])) end--;
  int base = 10;
  if (end - p > 2 && *p == '0') {
    const char mark = p[1] | 0x20;
    base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    if (base != 10) p += 2;
  }
  bool after_digit = base != 10;
  for (; p < end; p++) {
    if (*p == '_') {
      if (!after_digit) return false;
      after_digit = false;
      continue;
    }
    const int digit = HexDigit(*p);
    if (digit < 0 || digit >= base) return false;
    after_digit = true;
  }
  return after_digit;
}

template <class T>
Outcome ParseInteger(const char* begin, const char* end, const char* type, ColumnSink* sink, ValueError* error) {
  const char* p = begin;
  while (p < end && IsSpace(*p)) p++;
  bool negative = false;
  if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
  const char* digits = p;
  // Below the bound for both signs; the rest is decided after.
  uint64_t value = 0;
  bool overflow = false;
  for (; p < end && IsDigit(*p); p++) {
    overflow |= __builtin_mul_overflow(value, 10u, &value);
    overflow |= __builtin_add_overflow(value, static_cast<uint64_t>(*p - '0'), &value);
  }
  if (p == digits) return Invalid(error, type, begin, end);
  while (p < end && IsSpace(*p)) p++;
  if (p < end) {
    return IsOtherInteger(digits, end) ? Outcome::kUndecided : Invalid(error, type, begin, end);
  }
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<T>::max()) + negative;
  if (overflow || value > limit) {
    return Fail(error, "22003",
                "value " + Quoted(begin, end) + " is out of range for type " + type);
  }
  PutRow(sink, static_cast<T>(negative ? 0 - value : value));
  return Outcome::kFine;
}

Outcome ParseOid(const char* begin, const char* end, ColumnSink* sink) {
  uint64_t value = 0;
  if (begin == end || end - begin > 10) return Outcome::kUndecided;
  for (const char* p = begin; p < end; p++) {
    if (!IsDigit(*p)) return Outcome::kUndecided;
    value = value * 10 + (*p - '0');
  }
  if (value > 0xffffffffu) return Outcome::kUndecided;
  PutRow(sink, static_cast<int64_t>(value));
  return Outcome::kFine;
}

template <class T>
Outcome ParseFloat(const char* begin, const char* end, const char* type, ColumnSink* sink, ValueError* error) {
  const char* p = begin;
  while (p < end && IsSpace(*p)) p++;
  T value;
  FloatRange range = FloatRange::kFine;
  const char* stop;
  if constexpr (sizeof(T) == 4) {
    stop = ScanFloat4(p, end, &value, &range);
  } else {
    stop = ScanFloat8(p, end, &value, &range);
  }
  if (stop == p) return Invalid(error, type, begin, end);
  const char* rest = stop;
  while (rest < end && IsSpace(*rest)) rest++;
  // Forms that only some C libraries read: left to PostgreSQL's own.
  if (std::isnan(value) || (stop > p + 1 && (p[1] | 0x20) == 'x') || (stop > p + 2 && (p[2] | 0x20) == 'x')) {
    const bool plain = stop == p + 3 && rest == end;
    if (!plain) return Outcome::kUndecided;
    value = std::numeric_limits<T>::quiet_NaN();
  }
  if (rest < end) return Invalid(error, type, begin, end);
  if (range != FloatRange::kFine) {
    return Fail(error, "22003", Quoted(p, stop) + " is out of range for type " + type);
  }
  PutRow(sink, value);
  return Outcome::kFine;
}

/** parse_bool_with_len: unique prefixes. */
Outcome ParseBool(const char* begin, const char* end, ColumnSink* sink, ValueError* error) {
  const char* p = begin;
  const char* stop = end;
  while (p < stop && IsSpace(*p)) p++;
  while (stop > p && IsSpace(stop[-1])) stop--;
  char word[8] = {};
  const size_t size = stop - p;
  if (size == 0 || size > 5) return Invalid(error, "boolean", begin, end);
  for (size_t i = 0; i < size; i++) word[i] = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];
  const auto prefix = [&](const char* of, size_t least) {
    return size >= least && size <= std::strlen(of) && std::memcmp(word, of, size) == 0;
  };
  if (prefix("true", 1) || prefix("yes", 1) || prefix("on", 2) || prefix("1", 1)) {
    PutRow<uint8_t>(sink, 1);
  } else if (prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || prefix("0", 1)) {
    PutRow<uint8_t>(sink, 0);
  } else {
    return Invalid(error, "boolean", begin, end);
  }
  return Outcome::kFine;
}

/** varchar(n), char(n): characters beyond n must be spaces and are cut; char(n) is padded. */
Outcome ParseSized(const char* begin, const char* end, ColumnSink* sink, ValueError* error) {
  const auto* data = reinterpret_cast<const uint8_t*>(begin);
  size_t size = end - begin;
  if (sink->typmod < kHeaderSize) {
    sink->PushBytes(begin, size);
    return Outcome::kFine;
  }
  const size_t limit = sink->typmod - kHeaderSize;
  size_t characters = size <= limit && sink->type == Type::kVarchar ? size : CountCharacters(data, size);
  while (characters > limit) {
    if (begin[size - 1] != ' ') {
      return Fail(error, "22001",
                  std::string("value too long for type character") + (sink->type == Type::kVarchar ? " varying(" : "(") +
                      std::to_string(limit) + ")");
    }
    size--;
    characters--;
  }
  sink->values.Append(begin, size);
  if (sink->type == Type::kBpchar && characters < limit) {
    std::memset(sink->values.Grow(limit - characters), ' ', limit - characters);
  }
  sink->EndBytes();
  return Outcome::kFine;
}

/** string_to_uuid: hyphens after any group of four digits, braces around. */
Outcome ParseUuid(const char* begin, const char* end, ColumnSink* sink, ValueError* error) {
  const char* p = begin;
  const bool braces = p < end && *p == '{';
  if (braces) p++;
  uint8_t* out = sink->Next();
  for (int i = 0; i < 16; i++) {
    if (end - p < 2) return Invalid(error, "uuid", begin, end);
    const int high = HexDigit(p[0]), low = HexDigit(p[1]);
    if (high < 0 || low < 0) return Invalid(error, "uuid", begin, end);
    out[i] = static_cast<uint8_t>(high << 4 | low);
    p += 2;
    if (i % 2 == 1 && i < 15 && p < end && *p == '-') p++;
  }
  if (braces && (p == end || *p++ != '}')) return Invalid(error, "uuid", begin, end);
  if (p != end) return Invalid(error, "uuid", begin, end);
  sink->Commit();
  return Outcome::kFine;
}

Outcome ParseBytea(const char* begin, const char* end, ColumnSink* sink) {
  if (end - begin >= 2 && begin[0] == '\\' && begin[1] == 'x') {
    if ((end - begin) % 2 != 0) return Outcome::kUndecided;
    uint8_t* out = sink->values.Room((end - begin) / 2);
    size_t size = 0;
    for (const char* p = begin + 2; p < end; p += 2) {
      const int high = HexDigit(p[0]), low = HexDigit(p[1]);
      if (high < 0 || low < 0) return Outcome::kUndecided;
      out[size++] = static_cast<uint8_t>(high << 4 | low);
    }
    sink->values.Advance(size);
    sink->EndBytes();
    return Outcome::kFine;
  }
  if (std::memchr(begin, '\\', end - begin)) return Outcome::kUndecided;
  sink->PushBytes(begin, end - begin);
  return Outcome::kFine;
}

/** `value` by reference: it is written while the arguments are made. */
template <class T>
Outcome Taken(bool taken, const T& value, ColumnSink* sink) {
  if (!taken) return Outcome::kUndecided;
  PutRow(sink, value);
  return Outcome::kFine;
}

}  // namespace

bool HasTextInput(Type type, int typmod) {
  return type != Type::kOther && type != Type::kJson && type != Type::kJsonb &&
         (type != Type::kVector || typmod > 0);
}

Outcome ParseValue(const char* begin, const char* end, const ParseSettings& settings, ColumnSink* sink,
                   ValueError* error) {
  if (sink->textual) {
    sink->PushBytes(begin, end - begin);
    return Outcome::kFine;
  }
  int32_t days = 0;
  int64_t micros = 0;
  switch (sink->type) {
    case Type::kBool:
      return ParseBool(begin, end, sink, error);
    case Type::kInt2:
      return ParseInteger<int16_t>(begin, end, "smallint", sink, error);
    case Type::kInt4:
      return ParseInteger<int32_t>(begin, end, "integer", sink, error);
    case Type::kInt8:
      return ParseInteger<int64_t>(begin, end, "bigint", sink, error);
    case Type::kOid:
      return ParseOid(begin, end, sink);
    case Type::kFloat4:
      return ParseFloat<float>(begin, end, "real", sink, error);
    case Type::kFloat8:
      return ParseFloat<double>(begin, end, "double precision", sink, error);
    case Type::kText:
      sink->PushBytes(begin, end - begin);
      return Outcome::kFine;
    case Type::kName:
      if (end - begin > 63) return Outcome::kUndecided;
      sink->PushBytes(begin, end - begin);
      return Outcome::kFine;
    case Type::kVarchar:
    case Type::kBpchar:
      return ParseSized(begin, end, sink, error);
    case Type::kUuid:
      return ParseUuid(begin, end, sink, error);
    case Type::kBytea:
      return ParseBytea(begin, end, sink);
    case Type::kNumeric:
      if (!ParseNumeric(begin, end, sink->typmod, &sink->values)) return Outcome::kUndecided;
      sink->EndBytes();
      return Outcome::kFine;
    case Type::kDate:
      return Taken(ParseDate(begin, end, &days), days, sink);
    case Type::kTime:
      return Taken(ParseTime(begin, end, sink->typmod, &micros), micros, sink);
    case Type::kTimestamp:
      return Taken(ParseTimestamp(begin, end, sink->typmod, false, settings.utc, &micros), micros, sink);
    case Type::kTimestamptz:
      return Taken(ParseTimestamp(begin, end, sink->typmod, true, settings.utc, &micros), micros, sink);
    case Type::kVector: {
      auto* out = reinterpret_cast<float*>(sink->Next());
      if (ParseVector(begin, end, static_cast<int>(sink->width), out, error) < 0) return Outcome::kError;
      sink->Commit();
      return Outcome::kFine;
    }
    default:
      return Outcome::kUndecided;
  }
}

}  // namespace elanus::codecs
