// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/loopback_names.h>

#include <algorithm>

#include <eddy/net/address.h>
#include <eddy/net/detail/text_file.h>

namespace eddy::detail {

namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool same_name(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, &lower, &lower);
}

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
  return find_line(path, [name](std::string_view line) { return gives_loopback(line, name); });
}

}  // namespace eddy::detail
