// numeric between text and send format: int16 ndigits, int16 weight, uint16 sign, int16 dscale, base-10000 digits.
#pragma once
#include <cstdint>

#include "bytes.h"

namespace elanus::codecs {

/**
 * Appends the send format of a plain decimal or NaN. False, with nothing appended, for what is left to PostgreSQL:
 * exponents, infinities, values that a typmod would round or refuse, anything malformed.
 */
bool ParseNumeric(const char* begin, const char* end, int typmod, Bytes* out);

/** numeric_out, appended. False when the bytes are no numeric. */
bool FormatNumeric(const uint8_t* data, size_t size, Bytes* out);

}  // namespace elanus::codecs
