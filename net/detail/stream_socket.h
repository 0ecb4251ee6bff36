// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// Owns an open socket, and closes it when it is destroyed.
class stream_socket {
public:
  /// Owns nothing.
  stream_socket() noexcept = default;
  /// Owns `socket`, and counts it among the open streams unless it is no connection.
  explicit stream_socket(open_socket& socket, bool counted = true) noexcept;
  stream_socket(stream_socket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  stream_socket& operator=(stream_socket&& other) noexcept {
    stream_socket before(std::move(other));
    std::swap(socket_, before.socket_);
    return *this;
  }
  ~stream_socket() { close(); }

  void close() noexcept {
    if (socket_ != nullptr) close_socket();
  }

  /// Gives up the open socket's descriptor, and returns it. Aborts the program with `not_open` if
  /// this owns nothing.
  [[nodiscard]] int give_up(const char* not_open) noexcept;

  /// Null if this owns nothing.
  [[nodiscard]] open_socket* get() const noexcept { return socket_; }
  /// The open socket, on any thread. Aborts the program with `not_open` if this owns nothing.
  [[nodiscard]] open_socket& unchecked(const char* not_open) const noexcept {
    if (socket_ == nullptr) misuse(not_open);
    return *socket_;
  }
  /// The open socket, on the thread of its loop. Aborts the program with `not_open` if this owns
  /// nothing.
  [[nodiscard]] open_socket& checked(const char* not_open) const noexcept {
    open_socket& own = unchecked(not_open);
    own.loop().check_thread();
    return own;
  }
  [[nodiscard]] bool open() const noexcept {
    if (socket_ != nullptr) socket_->loop().check_thread();
    return socket_ != nullptr;
  }

  /// The number of streams that are open in this process.
  /// Threads: any.
  [[nodiscard]] static std::size_t count() noexcept;

private:
  void close_socket() noexcept;

  open_socket* socket_ = nullptr;
};

}  // namespace eddy::detail
