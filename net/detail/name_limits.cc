// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/name_limits.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>
#include <system_error>

#include <eddy/net/detail/text_file.h>

namespace eddy::detail {

namespace {

/// The number of an option "name:number", within its bounds.
std::optional<int> number_of(std::string_view option, std::string_view name, int least, int most) {
  if (!option.starts_with(name)) return std::nullopt;
  option.remove_prefix(name.size());
  int number = 0;
  const char* const begin = option.data();
  const char* const end = begin + option.size();
  const auto [read_to, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || read_to != end) return std::nullopt;
  return std::clamp(number, least, most);
}

}  // namespace

void name_limits::read(std::string_view words) noexcept {
  for (std::string_view word; !(word = take_word(words)).empty();) {
    // The bounds are those of glibc.
    if (const auto n = number_of(word, "timeout:", 1, 30)) timeout = std::chrono::seconds(*n);
    if (const auto n = number_of(word, "attempts:", 1, 5)) tries = *n;
  }
}

name_limits limits_in(const char* path, const char* variable) {
  name_limits all;
  find_line(path, [&all](std::string_view line) {
    line = line.substr(0, line.find_first_of("#;"));
    if (take_word(line) == "options") all.read(line);
    return false;
  });
  if (variable != nullptr) all.read(variable);
  return all;
}

name_limits limits_of(std::chrono::milliseconds timeout, int tries) {
  constexpr std::chrono::milliseconds longest{std::numeric_limits<int>::max()};
  // c-ares calls itself for each try that fails at once.
  constexpr int most = 100;
  name_limits all;
  if (timeout.count() <= 0 || tries <= 0) {
    all = limits_in("/etc/resolv.conf", std::getenv("RES_OPTIONS"));
  }
  if (timeout.count() > 0) all.timeout = std::min(timeout, longest);
  if (tries > 0) all.tries = std::min(tries, most);
  return all;
}

}  // namespace eddy::detail
