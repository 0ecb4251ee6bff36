// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include <sys/socket.h>

#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/system.h>

/// The kinds of system calls that `net/` makes.
enum class call {
  socket,
  bind,
  listen,
  accept,
  connect,
  read,
  send,
  send_message,
  shutdown,
  close,
  get_option,
  set_option,
  local_name,
  peer_name,
  set_non_blocking,
  unread,
  receive_message,
  kinds,  // the number of kinds
};

/// Replaces the kernel in `net/` until it is destroyed. It counts system calls, fails chosen
/// calls, and can limit how many bytes a call moves.
class failing_system : public eddy::detail::system {
public:
  /// Fails the `kth` call of `kind` from now on, and with `for_good` all later ones.
  void fail(call kind, int error, std::size_t kth = 1, bool for_good = false) {
    plan& p = of(kind);
    p.error = error;
    p.at = p.count + kth;
    p.for_good = for_good;
  }
  void stop_failing(call kind) { of(kind).error = 0; }

  /// Fails the `kth` call of any kind, once.
  void fail_any(int error, std::size_t kth) {
    any_error_ = error;
    any_at_ = total_ + kth;
  }

  /// Lets no call move more than `most` bytes.
  void limit_bytes(std::size_t most) { most_ = most; }

  [[nodiscard]] std::size_t count(call kind) { return of(kind).count; }
  [[nodiscard]] std::size_t total() const { return total_; }
  [[nodiscard]] bool has_failed() const { return failed_; }

  int socket(int family, int type, int protocol) override {
    return fails(call::socket) ? -1 : system::socket(family, type, protocol);
  }
  int bind(int descriptor, const sockaddr* to, socklen_t size) override {
    return fails(call::bind) ? -1 : system::bind(descriptor, to, size);
  }
  int listen(int descriptor, int backlog) override {
    return fails(call::listen) ? -1 : system::listen(descriptor, backlog);
  }
  int accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) override {
    return fails(call::accept) ? -1 : system::accept(descriptor, peer, size, flags);
  }
  int connect(int descriptor, const sockaddr* to, socklen_t size) override {
    return fails(call::connect) ? -1 : system::connect(descriptor, to, size);
  }
  ssize_t read(int descriptor, void* data, std::size_t size) override {
    return fails(call::read) ? -1 : system::read(descriptor, data, std::min(size, most_));
  }
  ssize_t send(int descriptor, const void* data, std::size_t size, int flags) override {
    return fails(call::send) ? -1 : system::send(descriptor, data, std::min(size, most_), flags);
  }
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    if (fails(call::send_message)) return -1;
    if (most_ == no_limit) return system::send_message(descriptor, message, flags);
    return system::send(descriptor, message->msg_iov[0].iov_base,
                        std::min(message->msg_iov[0].iov_len, most_), flags);
  }
  int shutdown(int descriptor, int how) override {
    return fails(call::shutdown) ? -1 : system::shutdown(descriptor, how);
  }
  /// A close that fails still closes the descriptor, as on Linux.
  int close(int descriptor) override {
    const bool failed = fails(call::close);
    const int error = errno;
    const int done = system::close(descriptor);
    errno = failed ? error : errno;
    return failed ? -1 : done;
  }
  int get_option(int descriptor, int level, int name, void* value, socklen_t* size) override {
    return fails(call::get_option) ? -1 : system::get_option(descriptor, level, name, value, size);
  }
  int set_option(int descriptor, int level, int name, const void* value, socklen_t size) override {
    return fails(call::set_option) ? -1 : system::set_option(descriptor, level, name, value, size);
  }
  int local_name(int descriptor, sockaddr* name, socklen_t* size) override {
    return fails(call::local_name) ? -1 : system::local_name(descriptor, name, size);
  }
  int peer_name(int descriptor, sockaddr* name, socklen_t* size) override {
    return fails(call::peer_name) ? -1 : system::peer_name(descriptor, name, size);
  }
  int set_non_blocking(int descriptor) override {
    return fails(call::set_non_blocking) ? -1 : system::set_non_blocking(descriptor);
  }
  ssize_t receive_message(int descriptor, msghdr* message, int flags) override {
    return fails(call::receive_message) ? -1 : system::receive_message(descriptor, message, flags);
  }
  int unread(int descriptor, int* bytes) override {
    return fails(call::unread) ? -1 : system::unread(descriptor, bytes);
  }

private:
  static constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

  struct plan {
    std::size_t count = 0;
    std::size_t at = 0;
    int error = 0;
    bool for_good = false;
  };

  plan& of(call kind) { return plans_[static_cast<std::size_t>(kind)]; }

  bool fails(call kind) {
    plan& p = of(kind);
    ++p.count;
    ++total_;
    int error = 0;
    if (p.error != 0 && (p.count == p.at || (p.for_good && p.count > p.at))) error = p.error;
    if (any_error_ != 0 && total_ == any_at_) error = any_error_;
    if (error == 0) return false;
    failed_ = true;
    errno = error;
    return true;
  }

  std::array<plan, static_cast<std::size_t>(call::kinds)> plans_{};
  std::size_t total_ = 0;
  int any_error_ = 0;
  std::size_t any_at_ = 0;
  std::size_t most_ = no_limit;
  bool failed_ = false;
  eddy::detail::scoped_system in_place_{*this};
};

/// The error that the constructor of an Owner throws for a socket that can't be made
/// non-blocking. Closing the socket fails, too.
template <class Owner>
std::error_code refusal_to_take_over(eddy::event_loop& loop) {
  failing_system system;
  system.fail(call::set_non_blocking, EPERM);
  system.fail(call::close, EIO);
  try {
    const Owner owner(loop, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}
