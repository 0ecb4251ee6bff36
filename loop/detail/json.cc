// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/json.h>

#include <algorithm>
#include <cstddef>

namespace eddy::detail {

namespace {

constexpr std::string_view digits = "0123456789";

/// How many bytes the first character of `text` has in UTF-8 (RFC 3629); none if it is
/// not one.
std::size_t character_size(std::string_view text) noexcept {
  const auto at = [text](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2   ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  // Neither longer than need be, nor half of a pair, nor beyond the last.
  const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (size == 0 || at(1) < least || at(1) > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

/// Bytes that are no UTF-8 are told as characters of their numbers.
void add_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    const auto code = static_cast<unsigned char>(c);
    const std::size_t size = character_size(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20 || size == 0) {
      constexpr std::string_view hexadecimal = "0123456789abcdef";
      out += "\\u00";
      out += hexadecimal[code >> 4];
      out += hexadecimal[code & 15];
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
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
