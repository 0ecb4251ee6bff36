// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <source_location>

namespace eddy::detail {

/// The slow paths of `expect_handler` and `expect_error`.
[[noreturn, gnu::cold]] void null_handler(const char* who) noexcept;
[[noreturn, gnu::cold]] void no_error(const char* who) noexcept;

/// Aborts, after writing to the standard error a sentence that names the programming error.
///
/// Threads: any.
[[noreturn, gnu::cold]] void misuse(const char* sentence) noexcept;

/// Aborts with a message if the handler that was given to `who` is null.
template <class Handler>
void expect_handler(const Handler& h, const char* who) noexcept {
  if (!h) null_handler(who);
}

/// Aborts with a message if the error that was given to `who` is a null pointer or a code of
/// zero.
template <class Error>
void expect_error(const Error& e, const char* who) noexcept {
  if (!e) no_error(who);
}

/// Aborts, after writing to the standard error a sentence that names the programming error, and
/// its location in the user's code.
[[noreturn]] void misuse(const char* sentence, std::source_location where) noexcept;

/// Writes the reason for the program's end to the standard error: a misuse, or an error that
/// nobody caught. The library prints nowhere else.
[[gnu::format(printf, 1, 2)]] void print_last_words(const char* format, ...) noexcept;

}  // namespace eddy::detail
