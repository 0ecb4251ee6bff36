// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <eddy/loop/result.h>

struct sockaddr;
struct sockaddr_storage;

namespace eddy {

/// The address of a Unix socket: the path of a file, an abstract name, or none.
///
/// An abstract name is no file: it belongs to the network namespace and vanishes with its socket.
/// Anybody on the machine may bind and connect to it. A socket that was not bound is unnamed. A
/// `unix_address` is a value of 110 bytes, and is copied without allocating.
class unix_address {
public:
  /// The largest number of bytes of a path, or of an abstract name. The kernel's `sun_path` has 108
  /// bytes, and one of them is the zero that ends a path or begins an abstract name (unix(7)).
  static constexpr std::size_t most_bytes = 107;

  /// The address of a socket without a name.
  constexpr unix_address() noexcept = default;
  /// The address of a socket file. A relative path is relative to the working directory at the time
  /// of the system call.
  /// Errors: `std::system_error` whose text names the path: `filename_too_long` for more than
  /// `most_bytes` bytes; `invalid_argument` for an empty path or one with a zero byte.
  explicit unix_address(std::string_view path);
  /// The abstract address `name`, which may hold any bytes.
  /// Errors: `std::system_error` whose text names the address: `filename_too_long` for more than
  /// `most_bytes` bytes; `invalid_argument` for an empty name.
  [[nodiscard]] static unix_address abstract(std::string_view name);

  /// Parses `@name` as an abstract name, and other text as a path: a path that begins with `@` is
  /// written as `./@…`.
  /// Errors: `filename_too_long` and `invalid_argument` as for the constructors.
  [[nodiscard]] static result<unix_address> parse(std::string_view text);

  /// Converts a `sockaddr` of `size` bytes. Returns an unnamed address if `name` is not of a Unix
  /// socket.
  [[nodiscard]] static unix_address from(const sockaddr* name, std::size_t size) noexcept;
  /// Writes this address to `name` as a `sockaddr_un`. Returns the number of bytes written.
  [[nodiscard]] unsigned to(sockaddr_storage& name) const noexcept;

  [[nodiscard]] constexpr bool is_unnamed() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr bool is_abstract() const noexcept { return size_ != 0 && bytes_[0] == 0; }
  [[nodiscard]] constexpr bool is_path() const noexcept { return size_ != 0 && bytes_[0] != 0; }

  /// The path, or the abstract name without its `@`; empty for an unnamed address.
  [[nodiscard]] std::string_view name() const noexcept {
    const std::string_view all(bytes_.data(), size_);
    return is_abstract() ? all.substr(1) : all;
  }

  /// Prints the address as `/run/x.sock`, `@name` or `unnamed`. Control characters are printed as
  /// `\xNN`. A path that begins with `@`, or is `unnamed`, is printed with a leading `./`.
  [[nodiscard, gnu::cold]] std::string to_string() const;

  /// Two addresses are equal if their kinds and their bytes are.
  [[nodiscard]] friend bool operator==(const unix_address& a, const unix_address& b) noexcept {
    return a.all() == b.all();
  }
  /// Orders unnamed addresses before abstract ones, and those before paths; then by bytes.
  [[nodiscard]] friend std::strong_ordering operator<=>(const unix_address& a,
                                                        const unix_address& b) noexcept {
    return a.all() <=> b.all();
  }

private:
  // With the leading zero of an abstract name.
  [[nodiscard]] std::string_view all() const noexcept { return {bytes_.data(), size_}; }

  // The kernel reports the path of another program with up to 108 bytes.
  std::array<char, most_bytes + 1> bytes_{};
  std::uint8_t size_ = 0;
};

}  // namespace eddy

template <>
struct std::hash<eddy::unix_address> {
  [[nodiscard]] std::size_t operator()(const eddy::unix_address& a) const noexcept;
};
