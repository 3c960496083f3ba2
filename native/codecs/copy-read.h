// COPY FROM: bytes of the client into columns. Pure: no JavaScript here.
#pragma once
#include <string>
#include <vector>

#include "column-sink.h"
#include "value-error.h"
#include "value-parse.h"

namespace elanus::codecs {

struct CopyError {
  bool set = false;
  size_t row = 0;
  /** Of the column list; its size when the row as a whole is wrong. */
  size_t column = 0;
  ValueError value;
  std::string hint;
};

struct CopyTextFormat {
  bool csv = false;
  char delimiter = '\t';
  char quote = '"';
  char escape = '"';
  std::string null_string = "\\N";
  ParseSettings settings;
};

struct CopyInput {
  const uint8_t* data = nullptr;
  size_t size = 0;
  /** Nothing follows: a last row without newline counts; a row cut off is an error. */
  bool final = false;
  /** Stops after so many rows. */
  size_t row_count_max = SIZE_MAX;
};

struct CopyOutput {
  std::vector<ColumnSink> columns;
  size_t row_count = 0;
  size_t consumed = 0;
  /** Lines of text consumed (CSV values may span several). */
  size_t lines = 0;
  bool ended = false;
  CopyError error;
};

/** Tuples after the file header. */
void ReadCopyBinary(const CopyInput& input, CopyOutput* output);
/** Columns whose text cannot be decided natively become textual (raw text for the whole block). */
void ReadCopyText(const CopyInput& input, const CopyTextFormat& format, CopyOutput* output);

}  // namespace elanus::codecs
