// COPY BINARY tuples: int16 number of fields (-1: end), then per field int32 length (-1: NULL) and the bytes.
// Words: copyfromparse.c, CopyReadBinaryAttribute.
#include "copy-read.h"
#include "value-receive.h"

namespace elanus::codecs {
namespace {

void Fail(CopyOutput* output, size_t column, const char* sql_state, std::string message) {
  output->error = {true, output->row_count, column, {sql_state, std::move(message), {}}, {}};
}

/** False: the row is cut off or wrong. */
bool ReadRow(const uint8_t** at, const uint8_t* end, CopyOutput* output) {
  const uint8_t* p = *at;
  const size_t count = output->columns.size();
  for (size_t i = 0; i < count; i++) {
    if (end - p < 4) return false;
    const auto size = static_cast<int32_t>(LoadBig32(p));
    ColumnSink& sink = output->columns[i];
    p += 4;
    if (size == -1) {
      sink.PushNull();
      continue;
    }
    if (size < 0) {
      Fail(output, i, "22P04", "invalid field size");
      return false;
    }
    if (end - p < size) return false;
    ValueError error;
    if (ReceiveValue(p, size, &sink, &error) != Outcome::kFine) {
      output->error = {true, output->row_count, i, std::move(error), {}};
      return false;
    }
    p += size;
  }
  *at = p;
  return true;
}

}  // namespace

void ReadCopyBinary(const CopyInput& input, CopyOutput* output) {
  for (ColumnSink& sink : output->columns) {
    sink.unchecked = !HasBinaryInput(sink.type);
    sink.Start();
  }
  const uint8_t* p = input.data;
  const uint8_t* const end = input.data + input.size;
  while (output->row_count < input.row_count_max && end - p >= 2) {
    const int fields = static_cast<int16_t>(LoadBig16(p));
    if (fields == -1) {
      p += 2;
      output->ended = true;
      if (p < end) Fail(output, output->columns.size(), "22P04", "received copy data after EOF marker");
      break;
    }
    if (fields != static_cast<int>(output->columns.size())) {
      Fail(output, output->columns.size(), "22P04",
           "row field count is " + std::to_string(fields) + ", expected " + std::to_string(output->columns.size()));
      break;
    }
    const uint8_t* next = p + 2;
    if (!ReadRow(&next, end, output)) {
      if (input.final && !output->error.set) {
        Fail(output, output->columns.size(), "22P04", "unexpected EOF in COPY data");
      }
      break;
    }
    p = next;
    output->row_count++;
  }
  output->consumed = p - input.data;
  for (ColumnSink& sink : output->columns) sink.TruncateRows(output->row_count);
}

}  // namespace elanus::codecs
