// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <source_location>

namespace eddy::detail {

[[noreturn, gnu::cold]] void null_handler(const char* who) noexcept;
[[noreturn, gnu::cold]] void no_error(const char* who) noexcept;

/// Stops the program with a sentence on the standard error that names the
/// programmer's mistake.
///
/// Threads: any.
[[noreturn, gnu::cold]] void misuse(const char* sentence) noexcept;

/// Stops the program if the handler that was given to `who` is null.
template <class Handler>
void expect_handler(const Handler& h, const char* who) noexcept {
  if (!h) null_handler(who);
}

/// Stops the program if the error that was given to `who` is none: a null pointer, or a
/// code of zero.
template <class Error>
void expect_error(const Error& e, const char* who) noexcept {
  if (!e) no_error(who);
}

/// The same, with the place in the user's code that it speaks of.
[[noreturn]] void misuse(const char* sentence, std::source_location where) noexcept;

/// Writes to the standard error what a program ends with: a misuse, or an error
/// that nobody caught. The only place where the library prints.
[[gnu::format(printf, 1, 2)]] void print_last_words(const char* format, ...) noexcept;

}  // namespace eddy::detail
