// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/misuse.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace eddy::detail {

void misuse(const char* sentence) noexcept {
  print_last_words("eddy: %s\n", sentence);
  std::abort();
}

void null_handler(const char* who) noexcept {
  print_last_words("eddy: %s was given a handler that is null\n", who);
  std::abort();
}

void no_error(const char* who) noexcept {
  print_last_words("eddy: %s was given no error\n", who);
  std::abort();
}

void misuse(const char* sentence, std::source_location where) noexcept {
  print_last_words("eddy: %s (%s:%u)\n", sentence, where.file_name(),
                   static_cast<unsigned>(where.line()));
  std::abort();
}

void print_last_words(const char* format, ...) noexcept {
  std::va_list words;
  va_start(words, format);
  std::vfprintf(stderr, format, words);
  va_end(words);
}

}  // namespace eddy::detail
