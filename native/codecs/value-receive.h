// Binary input: one value in send format into a column, as PostgreSQL's receive functions.
#pragma once
#include "column-sink.h"
#include "value-error.h"

namespace elanus::codecs {

/** Whether the bytes of the type are checked here; others are kept as they are and marked `unchecked`. */
bool HasBinaryInput(Type type);

/** Appends a row; kError appends nothing (bytes of a value begun may remain: TruncateRows). */
Outcome ReceiveValue(const uint8_t* data, size_t size, ColumnSink* sink, ValueError* error);

}  // namespace elanus::codecs
