// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/location.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <eddy/loop/detail/text.h>

namespace eddy::detail {

namespace {

/// Returns "(anonymous namespace)::f" for "int (anonymous namespace)::f(char) [with ...]".
std::string_view bare_name(std::string_view signature) noexcept {
  std::size_t end = std::string_view::npos;  // of the name, before the parameters
  int nested = 0;
  for (std::size_t i = std::min(signature.find(" ["), signature.size()); i-- != 0;) {
    const char c = signature[i];
    if (c == ' ' && nested == 0 && end != std::string_view::npos) {
      return signature.substr(i + 1, end - i - 1);
    }
    if (c == ')' || c == '>') ++nested;
    if (c == '(' || c == '<') --nested;
    if (c == '(' && nested == 0 && end == std::string_view::npos) end = i;
  }
  return signature.substr(0, end);
}

/// The file, without its directory.
std::string_view bare_file(std::string_view path) noexcept {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

bool is_the_users(const std::source_location& where) noexcept {
  return !bare_name(where.function_name()).starts_with("eddy::detail::");
}

void add_place(std::string& out, const std::source_location& where) {
  add_text(out, {bare_name(where.function_name()), " at ", bare_file(where.file_name()), ":",
                 where.line()});
}

void set_location(description& to, const std::source_location& where) {
  to.set_location(bare_name(where.function_name()), bare_file(where.file_name()), where.line());
}

}  // namespace eddy::detail
