// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/json.h>

#include <algorithm>
#include <cstddef>

namespace eddy::detail {

namespace {

constexpr std::string_view digits = "0123456789";

void add_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      constexpr std::string_view hexadecimal = "0123456789abcdef";
      out += "\\u00";
      out += hexadecimal[code >> 4];
      out += hexadecimal[code & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// Takes "function at file:line: " from the beginning of `words`, if it is there.
void add_place(std::string& out, std::string_view& words) {
  const std::size_t end = words.find(": ");
  if (end == std::string_view::npos) return;
  const std::string_view place = words.substr(0, end);
  const std::size_t at = place.rfind(" at ");
  const std::size_t colon = place.rfind(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) return;
  const std::string_view line = place.substr(colon + 1);
  if (line.empty() || line.find_first_not_of(digits) != std::string_view::npos) return;
  out += "\"function\":";
  add_string(out, place.substr(0, at));
  out += ",\"file\":";
  add_string(out, place.substr(at + 4, colon - at - 4));
  out += ",\"line\":";
  out += line;
  out += ',';
  words.remove_prefix(end + 2);
}

}  // namespace

std::string json_of_tree(std::string_view lines) {
  std::string out = "[";
  std::size_t depth = 0;  // of the object that is open, from 1 on
  const std::size_t root = std::min(lines.find_first_not_of(' '), lines.size());
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    std::string_view words = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    const std::size_t indent = words.find_first_not_of(' ');
    if (indent == std::string_view::npos) continue;
    words.remove_prefix(indent);
    const std::size_t level = (indent - std::min(indent, root)) / 2 + 1;
    if (level > depth && depth != 0) {
      out += ",\"below\":[";
      ++depth;
    } else if (depth != 0) {
      for (; depth > level; --depth) out += "}]";
      out += "},";
    } else {
      depth = 1;
    }
    out += '{';
    add_place(out, words);
    out += "\"waits_for\":";
    add_string(out, words);
  }
  for (; depth > 1; --depth) out += "}]";
  if (depth == 1) out += '}';
  return out + "]";
}

}  // namespace eddy::detail
