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

std::string text(std::initializer_list<piece> pieces) {
  std::string made;
  add_text(made, pieces);
  return made;
}

}  // namespace eddy::detail
