// Decimals to floats, correctly rounded, as C's strtof and strtod read them.
#pragma once

namespace elanus::codecs {

enum class FloatRange { kFine, kOverflow, kUnderflow };

/**
 * Reads the longest prefix that is a float (no leading space), like strtof: also hexadecimal, inf, nan.
 * Returns where it ends, `begin` when there is none. Overflow gives an infinity, underflow 0 with the flag set.
 */
const char* ScanFloat4(const char* begin, const char* end, float* value, FloatRange* range);
const char* ScanFloat8(const char* begin, const char* end, double* value, FloatRange* range);

}  // namespace elanus::codecs
