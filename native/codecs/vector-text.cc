// Words and order of checks: pgvector, src/vector.c, vector_in.
#include "vector-text.h"

#include <cmath>

#include "float-format.h"
#include "float-parse.h"

namespace elanus::codecs {
namespace {

inline const char* SkipSpaces(const char* p, const char* end) {
  while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r'))) p++;
  return p;
}

int Fail(ValueError* error, const char* sql_state, std::string message, const char* detail = "") {
  *error = {sql_state, std::move(message), detail};
  return -1;
}

int SyntaxError(ValueError* error, const char* begin, const char* end, const char* detail = "") {
  return Fail(error, "22P02", "invalid input syntax for type vector: " + Quoted(begin, end), detail);
}

}  // namespace

int ParseVector(const char* begin, const char* end, int dimensions, float* out, ValueError* error) {
  const char* p = SkipSpaces(begin, end);
  if (p == end || *p != '[') return SyntaxError(error, begin, end, "Vector contents must start with \"[\".");
  p = SkipSpaces(p + 1, end);
  if (p < end && *p == ']') return Fail(error, "22000", "vector must have at least 1 dimension");
  const int capacity = dimensions > 0 ? dimensions : kVectorDimensionsMax;
  int count = 0;
  for (;;) {
    if (count == kVectorDimensionsMax) {
      return Fail(error, "54000",
                  "vector cannot have more than " + std::to_string(kVectorDimensionsMax) + " dimensions");
    }
    p = SkipSpaces(p, end);
    float value;
    FloatRange range = FloatRange::kFine;
    const char* stop = ScanFloat4(p, end, &value, &range);
    if (stop == p) return SyntaxError(error, begin, end);
    if (range == FloatRange::kOverflow) {
      return Fail(error, "22003", Quoted(p, stop) + " is out of range for type vector");
    }
    if (!std::isfinite(value)) {
      return Fail(error, "22000",
                  value != value ? "NaN not allowed in vector" : "infinite value not allowed in vector");
    }
    // More than wanted are counted on: the error names their number.
    if (count < capacity) out[count] = value;
    count++;
    p = SkipSpaces(stop, end);
    if (p < end && *p == ',') {
      p++;
    } else if (p < end && *p == ']') {
      p++;
      break;
    } else {
      return SyntaxError(error, begin, end);
    }
  }
  if (SkipSpaces(p, end) != end) return SyntaxError(error, begin, end, "Junk after closing right brace.");
  if (dimensions > 0 && count != dimensions) {
    return Fail(error, "22000",
                "expected " + std::to_string(dimensions) + " dimensions, not " + std::to_string(count));
  }
  return count;
}

void FormatVector(const float* values, size_t count, Bytes* out) {
  char* const start = reinterpret_cast<char*>(out->Room(count * (kFloat4TextMax + 1) + 2));
  char* p = start;
  *p++ = '[';
  for (size_t i = 0; i < count; i++) {
    if (i > 0) *p++ = ',';
    p += FormatFloat4(values[i], p);
  }
  *p++ = ']';
  out->Advance(p - start);
}

}  // namespace elanus::codecs
