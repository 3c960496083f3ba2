// What is wrong with a value, in PostgreSQL's words; made only when something is.
#pragma once
#include <string>

namespace elanus::codecs {

struct ValueError {
  std::string sql_state;
  std::string message;
  std::string detail;
};

/** "text", as PostgreSQL quotes what it was given. */
inline std::string Quoted(const char* begin, const char* end) {
  std::string quoted;
  quoted.reserve(end - begin + 2);
  quoted += '"';
  quoted.append(begin, end);
  quoted += '"';
  return quoted;
}

/** kUndecided: not taken natively; PostgreSQL must be asked. */
enum class Outcome { kFine, kUndecided, kError };

}  // namespace elanus::codecs
