// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

namespace eddy::detail {

/// A piece of a text: words, or a whole number.
class piece {
public:
  piece(const char* words) noexcept : words_(words) {}
  piece(std::string_view words) noexcept : words_(words) {}
  piece(const std::string& words) noexcept : words_(words) {}
  template <std::integral Number>
  piece(Number number) noexcept : number_(static_cast<long long>(number)) {}

private:
  friend void add_text(std::string&, std::initializer_list<piece>);

  std::string_view words_;
  long long number_ = 0;  // if there are no words
};

/// Makes a text of its pieces. Out of line, as `std::string`'s operators are
/// not: what is said of errors, and in descriptions, should be small, not fast.
[[nodiscard, gnu::cold]] std::string text(std::initializer_list<piece> pieces);

/// Adds to a text.
[[gnu::cold]] void add_text(std::string& to, std::initializer_list<piece> pieces);

/// A name from outside, fit for a message: control bytes, which would end it or break its
/// line, become `\xNN`.
[[nodiscard, gnu::cold]] std::string visible(std::string_view name);

/// Adds lines, moved so that the first of them is indented by `spaces`.
[[gnu::cold]] void add_indented(std::string& to, std::string_view lines, std::size_t spaces);

}  // namespace eddy::detail
