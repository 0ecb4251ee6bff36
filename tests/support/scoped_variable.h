// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

/// Sets a variable of the environment until it is destroyed.
class scoped_variable {
public:
  scoped_variable(const char* name, const char* value) : name_(name) {
    if (const char* const set = std::getenv(name)) before_ = set;
    ::setenv(name, value, 1);
  }
  scoped_variable(const scoped_variable&) = delete;
  scoped_variable& operator=(const scoped_variable&) = delete;
  ~scoped_variable() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

private:
  const char* name_;
  std::optional<std::string> before_;
};
