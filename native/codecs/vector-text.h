// pgvector's text form of vector.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bytes.h"
#include "value-error.h"

namespace elanus::codecs {

constexpr int kVectorDimensionsMax = 16000;

/**
 * vector_in: writes the floats to `out`, which has room for `capacity`.
 * dimensions > 0: exactly so many are wanted. Returns their number; -1: `error` is set.
 */
int ParseVector(const char* begin, const char* end, int dimensions, float* out, ValueError* error);

/** vector_out, appended. */
void FormatVector(const float* values, size_t count, Bytes* out);

}  // namespace elanus::codecs
