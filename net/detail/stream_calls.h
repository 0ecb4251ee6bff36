// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

// The calls on a stream: each is a `socket_call`. `after_shutdown` is the `errno`, or zero, with
// which a call that writes ends if it starts after a shutdown.

/// Reads what is there.
class read_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "read from";
  static constexpr bool tries = true;

  explicit read_call(mutable_buffer into) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  std::optional<int> attempt_rest(open_socket& socket);

  std::byte* data_;
  std::size_t size_;  // of the buffer; then of what was read
};

/// Writes all of one buffer or of several.
class write_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "write to";
  static constexpr bool tries = true;
  static constexpr int after_shutdown = EPIPE;

  explicit write_call(const_buffer all) noexcept
      : first_(all.data()), left_(all.size()), begun_(one_buffer) {}
  explicit write_call(std::span<const const_buffer> all) noexcept
      : first_(all.data()), left_(all.size()), begun_(0) {}

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}

private:
  std::optional<int> attempt_one(open_socket& socket);
  std::optional<int> attempt_several(open_socket& socket);
  void skip(std::size_t written) noexcept;

  static constexpr std::size_t one_buffer = SIZE_MAX;

  const void* first_;  // of the bytes that are left, or of the buffers
  std::size_t left_;   // how many bytes, or buffers
  std::size_t begun_;  // what was written of the first of several buffers
};

/// Waits until a read, or a write, would not wait.
template <readiness::direction Which>
class wait_call {
public:
  using value = void;
  static constexpr auto which = Which;
  static constexpr const char* name =
      Which == readiness::direction::read ? "wait to read from" : "wait to write to";
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;  // a write would not wait, but fail

  std::optional<int> attempt(open_socket& socket) noexcept {
    const bool ended = which == readiness::direction::read && socket.reading_ended();
    if (socket.suspected() && !ended) [[unlikely]]
      return std::nullopt;
    socket.set_told(which);
    return 0;
  }
  void take() const noexcept {}
};

/// Waits for the end of a connect that is under way.
class connect_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "connect to";
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}
};

/// Writes what fits.
class write_some_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::write;
  static constexpr int after_shutdown = EPIPE;

  explicit write_some_call(const_buffer all) noexcept : data_(all.data()), size_(all.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  const std::byte* data_;
  std::size_t size_;  // of the buffer; then of what was written
};

}  // namespace eddy::detail
