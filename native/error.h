// Errors that reach JavaScript as Error objects with `code` = SQLSTATE.
#pragma once
#include <stdexcept>
#include <string>

namespace elanus {

class NativeError : public std::runtime_error {
 public:
  NativeError(std::string sql_state, const std::string& message)
      : std::runtime_error(message), sql_state_(std::move(sql_state)) {}
  const std::string& sql_state() const { return sql_state_; }

 private:
  std::string sql_state_;
};

}  // namespace elanus
