// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace eddy::detail {

/// Calls `found` with each line of a file, until it returns true. Returns whether it did; false if
/// the file cannot be read. A program that is started meanwhile does not inherit the file.
template <class Function>
bool find_line(const char* path, Function found) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "re"), &std::fclose);
  if (!file) return false;
  struct line_buffer {
    line_buffer() = default;
    line_buffer(const line_buffer&) = delete;
    line_buffer& operator=(const line_buffer&) = delete;
    ~line_buffer() { std::free(text); }
    char* text = nullptr;
    std::size_t capacity = 0;
  };
  line_buffer line;
  for (ssize_t size = 0; (size = ::getline(&line.text, &line.capacity, file.get())) >= 0;) {
    if (found(std::string_view(line.text, static_cast<std::size_t>(size)))) return true;
  }
  return false;
}

/// Removes the first word from `line` and returns it; empty if there is none.
inline std::string_view take_word(std::string_view& line) noexcept {
  constexpr std::string_view blank = " \t\r\n\v\f";
  const std::size_t begin = line.find_first_not_of(blank);
  line.remove_prefix(begin == std::string_view::npos ? line.size() : begin);
  const std::string_view word = line.substr(0, line.find_first_of(blank));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace eddy::detail
