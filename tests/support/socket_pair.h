// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/// Two connected non-blocking Unix stream sockets, called near and far.
class socket_pair {
public:
  socket_pair() {
    int both[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both) != 0) {
      throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    near_ = both[0];
    far_ = both[1];
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;
  ~socket_pair() {
    close_near();
    close_far();
  }

  [[nodiscard]] int near() const noexcept { return near_; }
  [[nodiscard]] int far() const noexcept { return far_; }

  void close_near() noexcept { close(near_); }
  void close_far() noexcept { close(far_); }

  /// Writes to the far end.
  void send(std::string_view bytes = "x") const {
    if (::write(far_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      throw std::system_error(errno, std::generic_category(), "write");
    }
  }

  /// Reads all bytes that are available at the near end.
  std::string receive() const {
    std::string all;
    char some[4096];
    for (ssize_t n = 0; (n = ::read(near_, some, sizeof some)) > 0;) {
      all.append(some, static_cast<std::size_t>(n));
    }
    return all;
  }

  /// Writes to the near end until its buffer is full.
  void fill() const {
    const std::string much(65536, 'x');
    while (::write(near_, much.data(), much.size()) > 0) {
    }
  }

  /// Reads all bytes that are available at the far end.
  void empty() const {
    char some[65536];
    while (::read(far_, some, sizeof some) > 0) {
    }
  }

private:
  static void close(int& end) noexcept {
    if (const int old = std::exchange(end, -1); old >= 0) ::close(old);
  }

  int near_ = -1;
  int far_ = -1;
};
