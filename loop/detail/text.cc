// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/text.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace eddy::detail {

void add_text(std::string& to, std::initializer_list<piece> pieces) {
  for (const piece& p : pieces) {
    if (p.words_.data() != nullptr) {
      to.append(p.words_);
      continue;
    }
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.begin(), digits.end(), p.number_).ptr;
    to.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
  }
}

void add_indented(std::string& to, std::string_view lines, std::size_t spaces) {
  const std::size_t first = std::min(lines.find_first_not_of(' '), lines.size());
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    line.remove_prefix(std::min({line.find_first_not_of(' '), line.size(), first}));
    to.append(spaces, ' ').append(line) += '\n';
  }
}

std::string visible(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string made;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      made += c;
    } else {
      made.append("\\x").append(1, digits[byte >> 4U]).append(1, digits[byte & 0xfU]);
    }
  }
  return made;
}

std::string text(std::initializer_list<piece> pieces) {
  std::string made;
  add_text(made, pieces);
  return made;
}

}  // namespace eddy::detail
