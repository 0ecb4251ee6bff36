// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <eddy/loop/detail/text.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/expect_space.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_calls.h>

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
class pipe_read_call : public reading_call {
public:
  using value = std::size_t;

  pipe_read_call(mutable_buffer into, const pipe_kind& kind) noexcept
      : kind_(&kind), data_(into.data()), size_(into.size()) {
    expect_space(into);
  }
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
class pipe_write_call : public writing_call {
public:
  using value = void;

  pipe_write_call(const_buffer all, const pipe_kind& kind) noexcept : kind_(&kind), left_(all) {}
  pipe_write_call(std::span<const const_buffer> all, const pipe_kind& kind) noexcept
      : kind_(&kind), left_(all) {}

  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({name, " ", kind_->object});
  }

private:
  const pipe_kind* kind_;
  unwritten left_;
};

/// Writes as many bytes as there is space for.
class pipe_write_some_call : public writing_call {
public:
  using value = std::size_t;

  pipe_write_some_call(const_buffer all, const pipe_kind& kind) noexcept
      : kind_(&kind), data_(all.data()), size_(all.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({name, " ", kind_->object});
  }

private:
  const pipe_kind* kind_;
  const std::byte* data_;
  std::size_t size_;  // of the buffer, and then the number of bytes written
};

/// Waits until a read or a write would not wait.
template <readiness::direction Which>
class pipe_wait_call : public wait_call<Which> {
public:
  explicit pipe_wait_call(const pipe_kind& kind) noexcept : kind_(&kind) {}
  /// There is no error queue that could be the reason of a report.
  std::optional<int> attempt(open_socket& socket) noexcept {
    socket.set_reported(Which);
    return 0;
  }
  [[nodiscard]] std::string doing(const open_socket&) const {
    return text({wait_call<Which>::name, " ", kind_->object});
  }

private:
  const pipe_kind* kind_;
};

}  // namespace eddy::detail
