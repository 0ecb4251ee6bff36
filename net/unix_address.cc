// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_address.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <system_error>

#include <sys/socket.h>
#include <sys/un.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy {

namespace {

constexpr std::size_t header = offsetof(sockaddr_un, sun_path);

std::errc wrong_path(std::string_view path) noexcept {
  if (path.empty() || path.find('\0') != std::string_view::npos) return std::errc::invalid_argument;
  if (path.size() > unix_address::most_bytes) return std::errc::filename_too_long;
  return {};
}

std::errc wrong_name(std::string_view name) noexcept {
  if (name.empty()) return std::errc::invalid_argument;
  if (name.size() > unix_address::most_bytes) return std::errc::filename_too_long;
  return {};
}

[[noreturn]] void refuse(std::errc why, std::string_view kind, std::string_view name) {
  detail::throw_error(why, detail::text({"a Unix address of ", name.size(), " bytes, at most ",
                                         unix_address::most_bytes, " are possible: ", kind,
                                         detail::visible(name)}));
}

}  // namespace

unix_address::unix_address(std::string_view path) {
  if (const std::errc wrong = wrong_path(path); wrong != std::errc()) refuse(wrong, "", path);
  std::ranges::copy(path, bytes_.begin());
  size_ = static_cast<std::uint8_t>(path.size());
}

unix_address unix_address::abstract(std::string_view name) {
  if (const std::errc wrong = wrong_name(name); wrong != std::errc()) refuse(wrong, "@", name);
  unix_address made;
  std::ranges::copy(name, made.bytes_.begin() + 1);
  made.size_ = static_cast<std::uint8_t>(name.size() + 1);
  return made;
}

result<unix_address> unix_address::parse(std::string_view text) {
  const bool is_abstract = text.starts_with('@');
  const std::errc wrong = is_abstract ? wrong_name(text.substr(1)) : wrong_path(text);
  if (wrong != std::errc()) return std::unexpected(std::make_error_code(wrong));
  if (is_abstract) return abstract(text.substr(1));
  return unix_address(text);
}

unix_address unix_address::from(const sockaddr* name, std::size_t size) noexcept {
  unix_address made;
  if (size <= header || name->sa_family != AF_UNIX) return made;
  const char* const path = reinterpret_cast<const char*>(name) + header;
  std::size_t length = std::min(size - header, made.bytes_.size());
  // The kernel counts the zero that ends a path; a program may leave that out.
  if (path[0] != 0) length = ::strnlen(path, length);
  std::copy_n(path, length, made.bytes_.begin());
  made.size_ = static_cast<std::uint8_t>(length);
  return made;
}

unsigned unix_address::to(sockaddr_storage& name) const noexcept {
  sockaddr_un u{};
  u.sun_family = AF_UNIX;
  std::copy_n(bytes_.begin(), size_, u.sun_path);
  std::memcpy(&name, &u, sizeof u);
  const bool ends_with_zero = is_path() && size_ < sizeof u.sun_path;
  return static_cast<unsigned>(header + size_ + (ends_with_zero ? 1 : 0));
}

std::string unix_address::to_string() const {
  if (is_unnamed()) return "unnamed";
  std::string shown = detail::visible(name());
  if (is_abstract()) return detail::text({"@", shown});
  if (shown.starts_with('@') || shown == "unnamed") return detail::text({"./", shown});
  return shown;
}

}  // namespace eddy

std::size_t std::hash<eddy::unix_address>::operator()(const eddy::unix_address& a) const noexcept {
  // An abstract name and a path of the same bytes differ in one bit.
  return std::hash<std::string_view>()(a.name()) ^ (a.is_abstract() ? 1U : 0U);
}
