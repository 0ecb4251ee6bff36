// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <ostream>
#include <string>
#include <string_view>

/// Records events in order: `note("a")`, `CHECK(note == "a b")`.
class journal {
public:
  void operator()(std::string_view what) {
    if (!text_.empty()) text_ += ' ';
    text_ += what;
  }
  void operator()(std::integral auto number) { (*this)(std::string_view(std::to_string(number))); }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

  friend bool operator==(const journal& a, std::string_view b) { return a.text_ == b; }
  friend std::ostream& operator<<(std::ostream& out, const journal& j) {
    return out << '"' << j.text_ << '"';
  }

private:
  std::string text_;
};
