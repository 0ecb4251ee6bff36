// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <sys/types.h>

#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/socket_stream.h>

namespace eddy::detail {

// Calls that move bytes inside the kernel: each is a `socket_call`.

/// A stream on a socket, from which and to which the kernel can move bytes by itself.
template <class Stream>
concept spliceable = std::derived_from<Stream, eddy::socket_stream>;

/// Moves the bytes that are there from a socket into an empty pipe.
class splice_in_call : public reading_call {
public:
  using value = std::size_t;

  splice_in_call(int pipe, std::size_t size) noexcept : pipe_(pipe), size_(size) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  int pipe_;
  std::size_t size_;  // the most to move, and then the number of bytes moved
};

/// Moves as many of the bytes in a pipe to a socket as the socket has space for.
class splice_out_call : public writing_call {
public:
  using value = std::size_t;

  splice_out_call(int pipe, std::size_t size) noexcept : pipe_(pipe), size_(size) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return size_; }

private:
  int pipe_;
  std::size_t size_;  // of the bytes in the pipe, and then the number of bytes moved
};

/// Sends bytes of a file.
class send_file_call : public writing_call {
public:
  using value = std::uint64_t;
  static constexpr const char* name = "send a file to";

  send_file_call(int file, std::uint64_t offset, std::uint64_t size) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return sent_; }

private:
  int file_;
  bool bad_offset_;
  off_t offset_;
  std::uint64_t left_;
  std::uint64_t sent_ = 0;
};

/// A pipe between a `splice_in_call` and a `splice_out_call`.
class splice_pipe {
public:
  /// Makes the pipe. `made` is false if the process has no descriptors left.
  splice_pipe() noexcept;
  splice_pipe(const splice_pipe&) = delete;
  splice_pipe& operator=(const splice_pipe&) = delete;
  ~splice_pipe();

  [[nodiscard]] bool made() const noexcept { return ends_[0] >= 0; }
  [[nodiscard]] int in() const noexcept { return ends_[1]; }
  [[nodiscard]] int out() const noexcept { return ends_[0]; }

private:
  int ends_[2] = {-1, -1};
};

}  // namespace eddy::detail
