// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// A view of memory that a read fills.
///
/// Every object that converts to `std::span<std::byte>` or `std::span<char>` converts to a
/// `mutable_buffer`: an array or a vector of `std::byte` or `char`, for example.
///
/// Lifetime: the memory must outlive the operation that fills it.
class mutable_buffer {
public:
  template <class Bytes>
    requires(std::convertible_to<Bytes, std::span<std::byte>> ||
             std::convertible_to<Bytes, std::span<char>>)
  mutable_buffer(Bytes&& bytes) noexcept {  // NOLINT(bugprone-forwarding-reference-overload)
    if constexpr (std::convertible_to<Bytes, std::span<std::byte>>) {
      bytes_ = std::span<std::byte>(bytes);
    } else {
      bytes_ = std::as_writable_bytes(std::span<char>(bytes));
    }
  }

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

private:
  std::span<std::byte> bytes_;
};

/// A view of bytes that a write sends.
///
/// Every object that converts to `std::string_view`, `std::span<const char>` or `std::span<const
/// std::byte>` converts to a `const_buffer`: a string or a vector of bytes, for example. An array
/// of `char` is text, and its view ends before its first zero. To send the whole array, wrap it in
/// a `std::span`.
///
/// Lifetime: the bytes must outlive the operation that sends them.
class const_buffer {
public:
  /// An empty view.
  const_buffer() noexcept = default;

  template <class Bytes>
    requires(!std::same_as<std::remove_cvref_t<Bytes>, const_buffer> &&
             (std::convertible_to<Bytes, std::string_view> ||
              std::convertible_to<Bytes, std::span<const char>> ||
              std::convertible_to<Bytes, std::span<const std::byte>>))
  const_buffer(Bytes&& bytes) noexcept {  // NOLINT(bugprone-forwarding-reference-overload)
    if constexpr (std::convertible_to<Bytes, std::string_view>) {
      bytes_ = std::as_bytes(std::span<const char>(std::string_view(bytes)));
    } else if constexpr (std::convertible_to<Bytes, std::span<const char>>) {
      bytes_ = std::as_bytes(std::span<const char>(bytes));
    } else {
      bytes_ = std::span<const std::byte>(bytes);
    }
  }

  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

private:
  std::span<const std::byte> bytes_;
};

// implementation

namespace detail {
/// Bytes, or a list of buffers, that are destroyed at the end of the full expression.
template <class Bytes>
concept temporary_bytes = !std::is_lvalue_reference_v<Bytes> && std::ranges::range<Bytes> &&
                          !std::ranges::borrowed_range<Bytes>;

/// Rejects a `write` of temporary bytes with a handler, for a `Stream` that makes this overload its
/// own.
template <class Stream>
class temporary_write {
public:
  /// Rejects temporary bytes at compile time: the handler form writes its bytes after the call,
  /// when a temporary no longer exists.
  template <temporary_bytes Bytes, class Handler>
  void write(Bytes&&, Handler&&) {
    static_assert(!temporary_bytes<Bytes>,
                  "a write with a handler outlives these bytes: keep them in a variable");
  }

private:
  friend Stream;
  temporary_write() noexcept = default;
};
}  // namespace detail

}  // namespace eddy
