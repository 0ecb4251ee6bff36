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
  long long number_ = 0;  // used if there are no words
};

/// Makes a text of its pieces. Unlike `std::string`'s operators this is not inline: messages and
/// descriptions should be small, not fast.
[[nodiscard, gnu::cold]] std::string text(std::initializer_list<piece> pieces);

/// Adds pieces to a text.
[[gnu::cold]] void add_text(std::string& to, std::initializer_list<piece> pieces);

/// Returns a name from outside in a form fit for a message: the bytes of control characters, which
/// would end or break the line or command the terminal, become `\xNN`.
[[nodiscard, gnu::cold]] std::string visible(std::string_view name);

}  // namespace eddy::detail
