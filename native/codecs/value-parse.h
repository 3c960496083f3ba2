// Text input: one value's text into a column, as PostgreSQL's input functions.
#pragma once
#include "column-sink.h"
#include "value-error.h"

namespace elanus::codecs {

struct ParseSettings {
  /** The session's time zone is UTC: timestamptz without an offset is native. */
  bool utc = false;
};

/** Whether text of the type can be parsed natively at all (some texts may still be undecided). */
bool HasTextInput(Type type, int typmod);

/**
 * Appends a row. kUndecided and kError append nothing (bytes of a value begun may remain: TruncateRows).
 * The text is valid UTF-8.
 */
Outcome ParseValue(const char* begin, const char* end, const ParseSettings& settings, ColumnSink* sink,
                   ValueError* error);

}  // namespace elanus::codecs
