// Floats as PostgreSQL prints them (extra_float_digits >= 1).
#pragma once
#include <cstddef>

namespace elanus::codecs {

/** Longest outputs, as PostgreSQL's FLOAT_SHORTEST_DECIMAL_LEN and DOUBLE_SHORTEST_DECIMAL_LEN (rounded up). */
constexpr size_t kFloat4TextMax = 16;
constexpr size_t kFloat8TextMax = 32;

/** Writes at most kFloat4TextMax characters; returns how many. */
size_t FormatFloat4(float value, char* out);
size_t FormatFloat8(double value, char* out);

}  // namespace elanus::codecs
