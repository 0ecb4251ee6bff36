// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/// A descriptor that is closed at the end.
class descriptor {
public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() { close(); }
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }
  [[nodiscard]] int number() const noexcept { return number_; }

private:
  int number_;
};

/// Whether the peer has closed this connection, which is blocking.
inline bool closed_by_peer(const descriptor& client) {
  char byte = 0;
  return ::recv(client.number(), &byte, 1, MSG_DONTWAIT) == 0;
}

/// Limits the descriptors that this process may still open to a number.
class few_descriptors_free {
public:
  explicit few_descriptors_free(rlim_t count) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    ::close(next);
    // All lower numbers are in use.
    const rlimit now{.rlim_cur = static_cast<rlim_t>(next) + count, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &now);
  }
  few_descriptors_free(const few_descriptors_free&) = delete;
  few_descriptors_free& operator=(const few_descriptors_free&) = delete;
  ~few_descriptors_free() { end(); }
  void end() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
  rlimit before_{};
};
