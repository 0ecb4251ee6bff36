// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/loopback_names.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <eddy/net/address.h>

namespace eddy::detail {

namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Compares host names, which ignore case.
bool same_name(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, &lower, &lower);
}

/// Removes the first word from `line` and returns it; empty if there is none.
std::string_view take_word(std::string_view& line) noexcept {
  constexpr std::string_view blank = " \t\r\n\v\f";
  line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(blank));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

bool is_localhost(std::string_view name) noexcept {
  constexpr std::string_view top = "localhost";
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.size() < top.size()) return false;
  const std::string_view below = name.substr(0, name.size() - top.size());
  return same_name(name.substr(below.size()), top) &&
         (below.empty() || (below.size() > 1 && below.ends_with('.')));
}

bool gives_loopback(std::string_view line, std::string_view name) {
  line = line.substr(0, line.find('#'));
  const auto parsed = address::parse(take_word(line), 0);
  if (!parsed || !parsed->is_loopback()) return false;
  for (;;) {
    const std::string_view word = take_word(line);
    if (word.empty()) return false;
    if (same_name(word, name)) return true;
  }
}

bool file_gives_loopback(const char* path, std::string_view name) {
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
    if (gives_loopback(std::string_view(line.text, static_cast<std::size_t>(size)), name)) {
      return true;
    }
  }
  return false;
}

}  // namespace eddy::detail
