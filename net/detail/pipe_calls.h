// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <eddy/loop/detail/text.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// The kind of object under a `pipe_reader` or `pipe_writer`, and how its calls avoid blocking.
struct pipe_kind {
  enum class mode : std::uint8_t {
    own,     // O_NONBLOCK is set on an open file description that nobody else has
    file,    // a regular file or a directory, which is always ready
    socket,  // MSG_DONTWAIT
    shared,  // other processes have the open file description, so its flags are not ours to change
  };

  const char* object;  // for messages: "a pipe"
  mode how;
};

// The kinds have addresses for the whole program, because pending operations refer to them.
extern const pipe_kind pipe_itself;
extern const pipe_kind terminal_master;
/// The kind of one of the standard streams.
[[nodiscard]] const pipe_kind& standard_kind(int number, pipe_kind::mode how) noexcept;

/// Reads the bytes that are there, from anything that a `pipe_kind` describes.
class pipe_read_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "read from";
  static constexpr const char* busy = "a read is already pending on this stream";
  static constexpr bool tries = true;

  pipe_read_call(mutable_buffer into, const pipe_kind& kind) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({name, " ", kind_->object});
  }

private:
  const pipe_kind* kind_;
  std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes read
};

/// Writes all bytes of one buffer or of several.
class pipe_write_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "write to";
  static constexpr const char* busy = "a write is already pending on this stream";
  static constexpr bool tries = true;
  static constexpr int after_shutdown = EPIPE;

  pipe_write_call(const_buffer all, const pipe_kind& kind) noexcept
      : kind_(&kind), one_(all), left_(1) {}
  pipe_write_call(std::span<const const_buffer> all, const pipe_kind& kind) noexcept
      : kind_(&kind), several_(all.data()), left_(all.size()) {}

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({name, " ", kind_->object});
  }

private:
  [[nodiscard]] const const_buffer* first() const noexcept {
    return several_ == nullptr ? &one_ : several_;
  }
  void pass(std::size_t buffers) noexcept {
    if (several_ != nullptr) several_ += buffers;
    left_ -= buffers;
  }
  void skip(std::size_t written) noexcept;

  const pipe_kind* kind_;
  const_buffer one_;
  const const_buffer* several_ = nullptr;  // null: `one_`
  std::size_t left_;                       // the number of buffers
  std::size_t begun_ = 0;                  // bytes written of the first of them
};

/// Writes as many bytes as there is space for.
class pipe_write_some_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* busy = pipe_write_call::busy;
  static constexpr int after_shutdown = EPIPE;

  pipe_write_some_call(const_buffer all, const pipe_kind& kind) noexcept
      : kind_(&kind), data_(all.data()), size_(all.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  const pipe_kind* kind_;
  const std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes written
};

/// Waits until a read or a write would not wait.
template <readiness::direction Which>
class pipe_wait_call {
public:
  using value = void;
  static constexpr auto which = Which;
  static constexpr const char* name =
      Which == readiness::direction::read ? "wait to read from" : "wait to write to";
  static constexpr const char* busy =
      Which == readiness::direction::read ? pipe_read_call::busy : pipe_write_call::busy;
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;

  explicit pipe_wait_call(const pipe_kind& kind) noexcept : kind_(&kind) {}
  std::optional<int> attempt(open_socket& socket) noexcept {
    socket.set_reported(which);
    return 0;
  }
  void take() const noexcept {}
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({name, " ", kind_->object});
  }

private:
  const pipe_kind* kind_;
};

}  // namespace eddy::detail
