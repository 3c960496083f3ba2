// COPY text and CSV. Fields and escapes as CopyReadAttributesText and CopyReadAttributesCSV of copyfromparse.c.
//
// 1. find the part of the input that is UTF-8;  2. line by line, field by field: NULL string, unescape, parse;
// 3. a value that cannot be decided natively makes its column textual, and the block is read again from its start.
#include <algorithm>

#include "copy-line.h"
#include "copy-read.h"
#include "utf8.h"

namespace elanus::codecs {
namespace {

inline bool IsOctal(char c) { return c >= '0' && c <= '7'; }
inline int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

struct Field {
  const char* begin;
  const char* end;
  bool null;
};

class TextReader {
 public:
  TextReader(const CopyInput& input, const CopyTextFormat& format, CopyOutput* output)
      : format_(format), output_(output) {
    begin_ = reinterpret_cast<const char*>(input.data);
    end_ = begin_ + input.size;
    final_ = input.final;
    row_count_max_ = input.row_count_max;
    const size_t valid = ValidUtf8Prefix(input.data, input.size);
    valid_end_ = begin_ + valid;
    // A character cut off by the block's end is not wrong yet.
    cut_off_ = valid < input.size && !final_ && MayContinueUtf8(input.data + valid, input.size - valid);
  }

  /** False: a column became textual, start again. */
  bool Read() {
    const char* p = begin_;
    NewlineStyle style = NewlineStyle::kUnknown;
    while (output_->row_count < row_count_max_) {
      // Beyond the valid part no line can be finished: what is there is seen as if more were to come.
      const bool final = final_ && valid_end_ == end_;
      const Line line = ScanLine(p, valid_end_, final, format_, &style, &output_->error);
      if (line.status == Line::Status::kIncomplete) {
        if (valid_end_ < end_ && !cut_off_) InvalidBytes();
        break;
      }
      if (line.status == Line::Status::kError) {
        output_->error.row = output_->row_count;
        output_->error.column = output_->columns.size();
        break;
      }
      if (line.status == Line::Status::kEnd) {
        output_->ended = true;
        p = line.next;
        break;
      }
      const bool fine = format_.csv ? ReadCsvRow(line) : ReadTextRow(line);
      if (restart_) return false;
      if (!fine) break;
      output_->row_count++;
      output_->lines += line.lines;
      p = line.next;
    }
    output_->consumed = p - begin_;
    return true;
  }

 private:
  void Fail(size_t column, const char* sql_state, std::string message) {
    output_->error = {true, output_->row_count, column, {sql_state, std::move(message), {}}, {}};
  }

  void InvalidBytes() {
    const auto* at = reinterpret_cast<const uint8_t*>(valid_end_);
    Fail(output_->columns.size(), "22021", InvalidUtf8Message(at, end_ - valid_end_));
  }

  bool Put(size_t column, const Field& field) {
    ColumnSink& sink = output_->columns[column];
    if (field.null) {
      sink.PushNull();
      return true;
    }
    ValueError error;
    switch (ParseValue(field.begin, field.end, format_.settings, &sink, &error)) {
      case Outcome::kFine:
        return true;
      case Outcome::kUndecided:
        sink.textual = true;
        restart_ = true;
        return false;
      case Outcome::kError:
        output_->error = {true, output_->row_count, column, std::move(error), {}};
        return false;
    }
    return false;
  }

  /** After the last field of the line. */
  bool Finish(size_t fields) {
    if (failed_) return false;
    const size_t wanted = output_->columns.size();
    if (fields >= wanted) return true;
    Fail(fields, "22P04", "missing data for column \"" + output_->columns[fields].name + "\"");
    return false;
  }

  bool ExtraData() {
    Fail(output_->columns.size(), "22P04", "extra data after last expected column");
    return false;
  }

  bool ReadTextRow(const Line& line) {
    const char* p = line.begin;
    const size_t wanted = output_->columns.size();
    if (wanted == 0) return line.begin == line.end || ExtraData();
    for (size_t column = 0;; column++) {
      const char* start = p;
      const char* stop = FindAny(p, line.end, format_.delimiter, '\\', format_.delimiter, '\\');
      Field field{start, stop, false};
      bool more = stop < line.end && *stop == format_.delimiter;
      bool bad_bytes = false;
      if (stop < line.end && !more) {
        scratch_.assign(start, stop);
        stop = Unescape(stop, line.end, &more, &bad_bytes);
        field = {scratch_.data(), scratch_.data() + scratch_.size(), false};
      }
      field.null = static_cast<size_t>(stop - start) == format_.null_string.size() &&
                   std::memcmp(start, format_.null_string.data(), stop - start) == 0;
      if (bad_bytes && !field.null && !CheckEscaped(column)) return false;
      // PostgreSQL cuts the whole line into fields before it looks at a value: its complaints come first.
      if (!failed_ && column < wanted && !Put(column, field)) failed_ = true;
      if (restart_) return false;
      if (!more) return column < wanted ? Finish(column + 1) : ExtraData();
      p = stop + 1;
    }
  }

  /** Appends to scratch_ from a backslash to the delimiter or the line's end, which is returned. */
  const char* Unescape(const char* p, const char* end, bool* more, bool* bad_bytes) {
    *more = false;
    while (p < end) {
      char c = *p;
      if (c == format_.delimiter) {
        *more = true;
        return p;
      }
      p++;
      if (c == '\\') {
        // A backslash at the very end stands for nothing.
        if (p == end) return p - 1;
        c = *p++;
        switch (c) {
          case 'b':
            c = '\b';
            break;
          case 'f':
            c = '\f';
            break;
          case 'n':
            c = '\n';
            break;
          case 'r':
            c = '\r';
            break;
          case 't':
            c = '\t';
            break;
          case 'v':
            c = '\v';
            break;
          case 'x':
            if (p < end && HexDigit(*p) >= 0) {
              int value = HexDigit(*p++);
              if (p < end && HexDigit(*p) >= 0) value = value << 4 | HexDigit(*p++);
              c = static_cast<char>(value);
              *bad_bytes |= value == 0 || value >= 0x80;
            }
            break;
          default:
            if (IsOctal(c)) {
              int value = c - '0';
              for (int i = 0; i < 2 && p < end && IsOctal(*p); i++) value = value << 3 | (*p++ - '0');
              c = static_cast<char>(value);
              *bad_bytes |= (value & 0xff) == 0 || (value & 0x80) != 0;
            }
        }
      }
      scratch_.push_back(c);
    }
    return end;
  }

  /** \x and octal escapes can make bytes that are no UTF-8. */
  bool CheckEscaped(size_t column) {
    const auto* data = reinterpret_cast<const uint8_t*>(scratch_.data());
    const size_t valid = ValidUtf8Prefix(data, scratch_.size());
    if (valid == scratch_.size()) return true;
    Fail(std::min(column, output_->columns.size()), "22021", InvalidUtf8Message(data + valid, scratch_.size() - valid));
    return false;
  }

  bool ReadCsvRow(const Line& line) {
    const char* p = line.begin;
    const size_t wanted = output_->columns.size();
    if (wanted == 0) return line.begin == line.end || ExtraData();
    for (size_t column = 0;; column++) {
      const char* start = p;
      const char* stop = FindAny(p, line.end, format_.delimiter, format_.quote, format_.delimiter, format_.quote);
      Field field{start, stop, false};
      bool more = stop < line.end && *stop == format_.delimiter;
      if (stop < line.end && !more) {
        scratch_.assign(start, stop);
        if (!Unquote(&stop, line.end, &more)) {
          Fail(output_->columns.size(), "22P04", "unterminated CSV quoted field");
          return false;
        }
        field = {scratch_.data(), scratch_.data() + scratch_.size(), false};
      } else {
        field.null = static_cast<size_t>(stop - start) == format_.null_string.size() &&
                     std::memcmp(start, format_.null_string.data(), stop - start) == 0;
      }
      // PostgreSQL cuts the whole line into fields before it looks at a value: its complaints come first.
      if (!failed_ && column < wanted && !Put(column, field)) failed_ = true;
      if (restart_) return false;
      if (!more) return column < wanted ? Finish(column + 1) : ExtraData();
      p = stop + 1;
    }
  }

  /** Appends to scratch_ from a quote to the delimiter outside quotes or the line's end. False: no closing quote. */
  bool Unquote(const char** at, const char* end, bool* more) {
    const char* p = *at;
    *more = false;
    for (;;) {
      while (p < end && *p != format_.quote) {
        if (*p == format_.delimiter) {
          *more = true;
          *at = p;
          return true;
        }
        scratch_.push_back(*p++);
      }
      if (p == end) {
        *at = end;
        return true;
      }
      p++;
      for (;;) {
        if (p == end) return false;
        const char c = *p++;
        if (c == format_.escape && p < end && (*p == format_.escape || *p == format_.quote)) {
          scratch_.push_back(*p++);
          continue;
        }
        if (c == format_.quote) break;
        scratch_.push_back(c);
      }
    }
  }

  const CopyTextFormat& format_;
  CopyOutput* output_;
  const char* begin_;
  const char* end_;
  const char* valid_end_;
  bool cut_off_;
  bool final_;
  size_t row_count_max_;
  bool restart_ = false;
  bool failed_ = false;
  std::string scratch_;
};

}  // namespace

void ReadCopyText(const CopyInput& input, const CopyTextFormat& format, CopyOutput* output) {
  for (ColumnSink& sink : output->columns) {
    if (!HasTextInput(sink.type, sink.typmod)) sink.textual = true;
  }
  for (;;) {
    for (ColumnSink& sink : output->columns) {
      if (sink.textual) {
        sink.kind = Kind::kBytes;
        sink.width = 0;
      }
      sink.Start();
    }
    output->row_count = output->lines = 0;
    output->error = {};
    if (TextReader(input, format, output).Read()) break;
  }
  for (ColumnSink& sink : output->columns) sink.TruncateRows(output->row_count);
}

}  // namespace elanus::codecs
