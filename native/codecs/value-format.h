// Text and send format of column values, appended to a buffer.
#pragma once
#include "column-sink.h"

namespace elanus::codecs {

/**
 * Text output (DateStyle ISO, extra_float_digits 1, bytea_output hex, timestamptz in UTC) of a value that is not NULL.
 * @throws NativeError 22P03 when bytes are no value of the type; 0A000 when the type has no native text output.
 */
void FormatValue(const ColumnView& column, size_t row, Bytes* out);

/** Send format of a value that is not NULL. */
void SendValue(const ColumnView& column, size_t row, Bytes* out);


}  // namespace elanus::codecs
