// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <sys/uio.h>

#include <eddy/net/buffer.h>
#include <eddy/net/detail/expect_space.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

// The calls on a stream: each is a `socket_call`. A call in the direction `write` that starts after
// `shutdown` completes with `after_shutdown`, which is an `errno` or zero.

/// The constants of all calls that read a stream.
struct reading_call {
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "read from";
  static constexpr const char* busy = "a read is already pending on this stream";
  static constexpr bool tries = true;
};

/// The constants of all calls that write to a stream.
struct writing_call {
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "write to";
  static constexpr const char* busy = "a write is already pending on this stream";
  static constexpr bool tries = true;
  static constexpr int after_shutdown = EPIPE;
};

/// The bytes of one buffer or of several that a write has not written yet.
class unwritten {
public:
  explicit unwritten(const const_buffer& all) noexcept
      : first_(all.data()), left_(all.size()), begun_(one_buffer) {}
  explicit unwritten(std::span<const const_buffer> all) noexcept
      : first_(all.data()), left_(all.size()), begun_(0) {}

  /// Whether nothing is left. Empty buffers count until they are passed.
  [[nodiscard]] bool empty() const noexcept { return left_ == 0; }
  [[nodiscard]] bool of_one() const noexcept { return begun_ == one_buffer; }

  // For one buffer.

  /// The next bytes, `most` at most.
  [[nodiscard]] std::span<const std::byte> piece(std::size_t most) const noexcept {
    return {static_cast<const std::byte*>(first_), left_ < most ? left_ : most};
  }
  void pass_piece(std::size_t written) noexcept {
    first_ = static_cast<const std::byte*>(first_) + written;
    left_ -= written;
  }

  // For several buffers.

  struct filled {
    std::size_t parts;
    std::size_t bytes;
  };
  /// Describes the next bytes, `most` at most, by the first elements of `parts`.
  [[nodiscard]] filled fill(std::span<iovec> parts, std::size_t most) const noexcept;
  /// Passes the written bytes, and the empty buffers that follow them: up to `most` buffers.
  void skip(std::size_t written, std::size_t most) noexcept;
  /// Passes buffers, none of whose bytes are written.
  void pass(std::size_t buffers) noexcept {
    first_ = static_cast<const const_buffer*>(first_) + buffers;
    left_ -= buffers;
  }

private:
  static constexpr std::size_t one_buffer = SIZE_MAX;

  const void* first_;  // the first byte, or the first buffer, that is left
  std::size_t left_;   // the number of bytes, or of buffers
  std::size_t begun_;  // bytes written of the first of several buffers, or `one_buffer`
};

/// Reads the bytes that are there.
class read_call : public reading_call {
public:
  using value = std::size_t;

  explicit read_call(mutable_buffer into) noexcept : data_(into.data()), size_(into.size()) {
    expect_space(into);
  }
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes read
};

/// Writes all bytes of one buffer or of several.
class write_call : public writing_call {
public:
  using value = void;

  explicit write_call(const_buffer all) noexcept : left_(all) {}
  explicit write_call(std::span<const const_buffer> all) noexcept : left_(all) {}

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}

private:
  unwritten left_;
};

/// Waits until a read or a write would not wait.
template <readiness::direction Which>
class wait_call {
public:
  using value = void;
  static constexpr auto which = Which;
  static constexpr const char* name =
      Which == readiness::direction::read ? "wait to read from" : "wait to write to";
  static constexpr const char* busy =
      Which == readiness::direction::read ? reading_call::busy : writing_call::busy;
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
class write_some_call : public writing_call {
public:
  using value = std::size_t;

  explicit write_some_call(const_buffer all) noexcept : data_(all.data()), size_(all.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  const std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes written
};

/// Writes as many bytes of several buffers as the kernel has space for, by one system call.
class write_some_of_call : public writing_call {
public:
  using value = std::size_t;

  explicit write_some_of_call(std::span<const const_buffer> all) noexcept : all_(all) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return written_; }

private:
  std::span<const const_buffer> all_;
  std::size_t written_ = 0;
};

}  // namespace eddy::detail
