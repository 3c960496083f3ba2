// COPY text and CSV escapes as CopyAttributeOutText and CopyAttributeOutCSV of PostgreSQL's copyto.c.
#include "rows-write.h"

#include <string_view>

#include "copy-line.h"
#include "value-format.h"

namespace elanus::codecs {
namespace {

void CheckSize(size_t size) {
  if (size > 0x7fffffff) throw NativeError("54000", "rows exceed 2 GB: ask for fewer at a time");
}

/** int32 size, then the value. */
void WriteField(const ColumnView& column, size_t row, Bytes* out) {
  if (column.IsNull(row)) return StoreBig32(out->Grow(4), 0xffffffffu);
  const size_t at = out->size();
  out->Grow(4);
  if (column.format == 1) {
    SendValue(column, row, out);
  } else {
    FormatValue(column, row, out);
  }
  StoreBig32(out->data() + at, static_cast<uint32_t>(out->size() - at - 4));
}

void EscapeText(const char* p, const char* end, char delimiter, Bytes* out) {
  while (p < end) {
    // Control characters are rare: one scan for what is below 0x20 would find all; plain text runs are copied.
    const char* run = p;
    while (p < end && static_cast<unsigned char>(*p) >= 0x20 && *p != '\\' && *p != delimiter) p++;
    out->Append(run, p - run);
    if (p == end) break;
    const char c = *p++;
    char letter = 0;
    switch (c) {
      case '\b':
        letter = 'b';
        break;
      case '\f':
        letter = 'f';
        break;
      case '\n':
        letter = 'n';
        break;
      case '\r':
        letter = 'r';
        break;
      case '\t':
        letter = 't';
        break;
      case '\v':
        letter = 'v';
        break;
      default:
        if (c == '\\' || c == delimiter) letter = c;
    }
    if (letter) out->Push('\\');
    out->Push(letter ? letter : c);
  }
}

void QuoteCsv(const char* begin, const char* end, const CopyTextFormat& format, bool single, Bytes* out) {
  const size_t size = end - begin;
  const bool quote = std::string_view(begin, size) == format.null_string ||
                     (single && size == 2 && begin[0] == '\\' && begin[1] == '.') ||
                     FindAny(begin, end, format.delimiter, format.quote, '\n', '\r') != end;
  if (!quote) return out->Append(begin, size);
  out->Push(format.quote);
  for (const char* p = begin; p < end;) {
    const char* run = p;
    p = FindAny(p, end, format.quote, format.escape, format.quote, format.escape);
    out->Append(run, p - run);
    if (p == end) break;
    out->Push(format.escape);
    out->Push(*p++);
  }
  out->Push(format.quote);
}

}  // namespace

void WriteCopyBinary(const RowSet& rows, Bytes* out) {
  for (size_t i = 0; i < rows.row_count; i++) {
    const size_t row = rows.rows ? rows.rows[i] : i;
    StoreBig16(out->Grow(2), static_cast<uint16_t>(rows.columns.size()));
    for (const ColumnView& column : rows.columns) WriteField(column, row, out);
    CheckSize(out->size());
  }
}

void WriteDataRows(const RowSet& rows, Bytes* out) {
  for (size_t i = 0; i < rows.row_count; i++) {
    const size_t row = rows.rows ? rows.rows[i] : i;
    const size_t at = out->size();
    uint8_t* header = out->Grow(7);
    header[0] = 'D';
    StoreBig16(header + 5, static_cast<uint16_t>(rows.columns.size()));
    for (const ColumnView& column : rows.columns) WriteField(column, row, out);
    StoreBig32(out->data() + at + 1, static_cast<uint32_t>(out->size() - at - 1));
    CheckSize(out->size());
  }
}

void WriteCopyText(const RowSet& rows, const CopyTextFormat& format, Bytes* out) {
  Bytes scratch;
  const bool single = rows.columns.size() == 1;
  for (size_t i = 0; i < rows.row_count; i++) {
    const size_t row = rows.rows ? rows.rows[i] : i;
    bool first = true;
    for (const ColumnView& column : rows.columns) {
      if (!first) out->Push(format.delimiter);
      first = false;
      if (column.IsNull(row)) {
        out->Append(format.null_string.data(), format.null_string.size());
        continue;
      }
      scratch.Truncate(0);
      FormatValue(column, row, &scratch);
      const char* text = reinterpret_cast<const char*>(scratch.data());
      // Numbers too: any character may be the delimiter, any word the NULL string.
      if (format.csv) {
        QuoteCsv(text, text + scratch.size(), format, single, out);
      } else {
        EscapeText(text, text + scratch.size(), format.delimiter, out);
      }
    }
    out->Push('\n');
    CheckSize(out->size());
  }
}

}  // namespace elanus::codecs
