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

// The calls on a stream: each is a `socket_call`. A call in the direction `write` that starts after
// `shutdown` completes with `after_shutdown`, which is an `errno` or zero.

/// Reads the bytes that are there.
class read_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "read from";
  static constexpr const char* busy = "a read is already pending on this stream";
  static constexpr bool tries = true;

  explicit read_call(mutable_buffer into) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  std::optional<int> attempt_rest(open_socket& socket);

  std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes read
};

/// Writes all bytes of one buffer or of several.
class write_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "write to";
  static constexpr const char* busy = "a write is already pending on this stream";
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

  const void* first_;  // the first byte, or the first buffer, that is left
  std::size_t left_;   // the number of bytes, or of buffers
  std::size_t begun_;  // bytes written of the first of several buffers, or `one_buffer`
};

/// Waits until a read or a write would not wait.
template <readiness::direction Which>
class wait_call {
public:
  using value = void;
  static constexpr auto which = Which;
  static constexpr const char* name =
      Which == readiness::direction::read ? "wait to read from" : "wait to write to";
  static constexpr const char* busy = Which == readiness::direction::read
                                          ? "a read is already pending on this stream"
                                          : "a write is already pending on this stream";
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;  // a write fails without waiting

  std::optional<int> attempt(open_socket& socket) noexcept {
    const bool ended = which == readiness::direction::read && socket.reading_ended();
    if (socket.suspected() && !ended) [[unlikely]]
      return std::nullopt;
    socket.set_reported(which);
    return 0;
  }
  void take() const noexcept {}
};

/// Waits until a pending connect has completed.
class connect_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "connect to";
  static constexpr const char* busy = "a connect is already pending on this socket";
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}
};

/// Writes as many bytes as the kernel has space for.
class write_some_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* busy = "a write is already pending on this stream";
  static constexpr int after_shutdown = EPIPE;

  explicit write_some_call(const_buffer all) noexcept : data_(all.data()), size_(all.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  const std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes written
};

}  // namespace eddy::detail
