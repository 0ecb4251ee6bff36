// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/text.h>

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

std::string visible(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string made;
  const auto at = [name](std::size_t i) -> unsigned {
    return i < name.size() ? static_cast<unsigned char>(name[i]) : 0U;
  };
  const auto is_c1 = [at](std::size_t i) { return at(i) == 0xc2 && at(i + 1) - 0x80 < 0x20; };
  for (std::size_t i = 0; i != name.size(); ++i) {
    const unsigned byte = at(i);
    if (byte >= 0x20 && byte != 0x7f && !is_c1(i) && (i == 0 || !is_c1(i - 1))) {
      made += name[i];
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
