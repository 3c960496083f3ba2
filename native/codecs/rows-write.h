// Rows for clients and evaluators: COPY BINARY tuples, COPY text and CSV lines, DataRow messages.
#pragma once
#include <string>
#include <vector>

#include "column-sink.h"
#include "copy-read.h"

namespace elanus::codecs {

struct RowSet {
  std::vector<ColumnView> columns;
  size_t row_count = 0;
  /** Ordinals to write, row_count of them; null: 0 .. row_count - 1. */
  const uint32_t* rows = nullptr;
};

/** No header, no trailer. */
void WriteCopyBinary(const RowSet& rows, Bytes* out);
void WriteCopyText(const RowSet& rows, const CopyTextFormat& format, Bytes* out);
/** Whole messages: 'D', int32 size, int16 fields, then int32 size (-1 NULL) and bytes each. */
void WriteDataRows(const RowSet& rows, Bytes* out);

}  // namespace elanus::codecs
