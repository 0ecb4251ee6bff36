// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

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
  socket_pair,
  status,
  set_mode,
  set_path_mode,
  rename,
  remove,
  send_messages,
  receive_messages,
  receive,
  write,
  read_now,
  write_now,
  poll,
  open,
  file_status,
  pipe,
  duplicate,
  status_flags,
  set_blocking,
  open_terminal,
  open_terminal_peer,
  set_window,
  get_window,
  map_stack,
  open_signals,
  start_child,
  signal_process,
  signal_group,
  reap,
  splice,
  send_file,
  open_timer,
  read_at_now,
  write_at_now,
  read_at,
  write_at,
  sync,
  resize,
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
    p.end = for_good ? no_limit : p.at + 1;
    p.to = share::all;
  }
  void stop_failing(call kind) { of(kind) = plan{.count = of(kind).count}; }
  /// Fails `times` calls of `kind`, from the `kth` from now on.
  void fail_times(call kind, int error, std::size_t kth, std::size_t times) {
    fail(kind, error, kth);
    of(kind).end = of(kind).at + times;
  }

  /// How much of what the kernel could move a call moves.
  enum class share : std::uint8_t { all, one, all_but_one };
  /// Lets `times` calls of `kind`, from the `kth` from now on, move fewer bytes or messages than
  /// they could. A call that moves a whole datagram still moves it.
  void shorten(call kind, share to, std::size_t kth, std::size_t times) {
    fail_times(kind, 0, kth, times);
    of(kind).to = to;
  }

  /// Fails the `kth` call of any kind, once.
  void fail_any(int error, std::size_t kth) {
    any_error_ = error;
    any_at_ = total_ + kth;
  }

  /// Lets no call move more than `most` of several messages.
  void limit_messages(unsigned most) { most_messages_ = most; }

  /// Lets no call move more than `most` bytes.
  void limit_bytes(std::size_t most) { most_ = most; }

  /// Fails all calls after the next `most`, so that a loop that never ends is left.
  void limit_calls(std::size_t most) { most_calls_ = total_ + most; }
  [[nodiscard]] bool limit_passed() const { return total_ > most_calls_; }

  [[nodiscard]] std::size_t count(call kind) { return of(kind).count; }
  [[nodiscard]] std::size_t total() const { return total_; }
  /// The number of calls that failed or were shortened.
  [[nodiscard]] std::size_t faults() const { return faults_; }
  [[nodiscard]] bool has_failed() const { return faults_ != 0; }

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
    if (!fails(call::connect)) return system::connect(descriptor, to, size);
    const int error = errno;
    // A connect by TCP that a signal interrupts goes on.
    if (error == EINTR && to->sa_family != AF_UNIX) system::connect(descriptor, to, size);
    errno = error;
    return -1;
  }
  ssize_t read(int descriptor, void* data, std::size_t size) override {
    if (fails(call::read)) return -1;
    return system::read(descriptor, data, most_to_read(descriptor, size));
  }
  ssize_t send(int descriptor, const void* data, std::size_t size, int flags) override {
    if (fails(call::send)) return -1;
    return system::send(descriptor, data, most_to_write(descriptor, size), flags);
  }
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    if (fails(call::send_message)) return -1;
    // The first bytes alone, with the destination and the descriptors of the message.
    return limited(descriptor, message->msg_iov, static_cast<int>(message->msg_iovlen),
                   [&](const iovec* p, int n) {
                     msghdr shorter = *message;
                     shorter.msg_iov = const_cast<iovec*>(p);
                     shorter.msg_iovlen = static_cast<std::size_t>(n);
                     return system::send_message(descriptor, &shorter, flags);
                   });
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
    if (fails(call::receive_message)) return -1;
    if (message->msg_iovlen == 0) return system::receive_message(descriptor, message, flags);
    const std::size_t whole = message->msg_iov[0].iov_len;
    message->msg_iov[0].iov_len = most_to_read(descriptor, whole);
    const ssize_t n = system::receive_message(descriptor, message, flags);
    message->msg_iov[0].iov_len = whole;
    return n;
  }
  int socket_pair(int type, int* both) override {
    return fails(call::socket_pair) ? -1 : system::socket_pair(type, both);
  }
  int status(const char* path, struct ::stat* what) override {
    return fails(call::status) ? -1 : system::status(path, what);
  }
  int set_mode(int descriptor, mode_t mode) override {
    return fails(call::set_mode) ? -1 : system::set_mode(descriptor, mode);
  }
  int set_path_mode(const char* path, mode_t mode) override {
    return fails(call::set_path_mode) ? -1 : system::set_path_mode(path, mode);
  }
  int rename(const char* from, const char* to, bool replaces) override {
    return fails(call::rename) ? -1 : system::rename(from, to, replaces);
  }
  int remove(const char* path) override { return fails(call::remove) ? -1 : system::remove(path); }
  int send_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) override {
    if (fails(call::send_messages)) return -1;
    return system::send_messages(descriptor, messages, most_messages(count), flags);
  }
  int receive_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) override {
    if (fails(call::receive_messages)) return -1;
    return system::receive_messages(descriptor, messages, most_messages(count), flags);
  }
  ssize_t splice_in(int socket, int pipe, std::size_t size) override {
    return fails(call::splice) ? -1 : system::splice_in(socket, pipe, most_to_read(socket, size));
  }
  ssize_t splice_out(int pipe, int socket, std::size_t size) override {
    return fails(call::splice) ? -1 : system::splice_out(pipe, socket, most_to_read(pipe, size));
  }
  ssize_t send_file(int to, int file, off_t* offset, std::size_t size) override {
    if (fails(call::send_file)) return -1;
    return system::send_file(to, file, offset, most_to_write(to, size));
  }
  int unread(int descriptor, int* bytes) override {
    return fails(call::unread) ? -1 : system::unread(descriptor, bytes);
  }

  ssize_t receive(int descriptor, void* data, std::size_t size, int flags) override {
    if (fails(call::receive)) return -1;
    return system::receive(descriptor, data, most_to_read(descriptor, size), flags);
  }
  ssize_t write(int descriptor, const iovec* parts, int count) override {
    if (fails(call::write)) return -1;
    return limited(descriptor, parts, count,
                   [&](const iovec* p, int n) { return system::write(descriptor, p, n); });
  }
  ssize_t read_now(int descriptor, void* data, std::size_t size) override {
    if (fails(call::read_now)) return -1;
    return system::read_now(descriptor, data, most_to_read(descriptor, size));
  }
  ssize_t write_now(int descriptor, const iovec* parts, int count) override {
    if (fails(call::write_now)) return -1;
    return limited(descriptor, parts, count,
                   [&](const iovec* p, int n) { return system::write_now(descriptor, p, n); });
  }
  ssize_t read_at_now(int descriptor, void* data, std::size_t size, off_t offset) override {
    if (fails(call::read_at_now)) return -1;
    return system::read_at_now(descriptor, data, std::min(size, most_), offset);
  }
  ssize_t write_at_now(int descriptor, const iovec* parts, int count, off_t offset) override {
    if (fails(call::write_at_now)) return -1;
    return limited(descriptor, parts, count, [&](const iovec* p, int n) {
      return system::write_at_now(descriptor, p, n, offset);
    });
  }
  ssize_t read_at(int descriptor, void* data, std::size_t size, off_t offset) override {
    if (fails(call::read_at)) return -1;
    return system::read_at(descriptor, data, std::min(size, most_), offset);
  }
  ssize_t write_at(int descriptor, const void* data, std::size_t size, off_t offset) override {
    if (fails(call::write_at)) return -1;
    return system::write_at(descriptor, data, std::min(size, most_), offset);
  }
  int sync(int descriptor) override { return fails(call::sync) ? -1 : system::sync(descriptor); }
  int resize(int descriptor, off_t size) override {
    return fails(call::resize) ? -1 : system::resize(descriptor, size);
  }
  int poll(int descriptor, short events) override {
    return fails(call::poll) ? -1 : system::poll(descriptor, events);
  }
  int poll_for(int descriptor, short events, std::chrono::milliseconds most) override {
    return fails(call::poll) ? -1 : system::poll_for(descriptor, events, most);
  }
  int open(const char* path, int flags, mode_t mode) override {
    return fails(call::open) ? -1 : system::open(path, flags, mode);
  }
  int file_status(int descriptor, struct stat* status) override {
    return fails(call::file_status) ? -1 : system::file_status(descriptor, status);
  }
  int pipe(int* ends, int flags) override {
    return fails(call::pipe) ? -1 : system::pipe(ends, flags);
  }
  int duplicate(int descriptor) override {
    return fails(call::duplicate) ? -1 : system::duplicate(descriptor);
  }
  int status_flags(int descriptor) override {
    return fails(call::status_flags) ? -1 : system::status_flags(descriptor);
  }
  int set_blocking(int descriptor) override {
    return fails(call::set_blocking) ? -1 : system::set_blocking(descriptor);
  }
  int open_terminal() override { return fails(call::open_terminal) ? -1 : system::open_terminal(); }
  int open_terminal_peer(int master) override {
    return fails(call::open_terminal_peer) ? -1 : system::open_terminal_peer(master);
  }
  int set_window(int terminal, const winsize* size) override {
    return fails(call::set_window) ? -1 : system::set_window(terminal, size);
  }
  int get_window(int terminal, winsize* size) override {
    return fails(call::get_window) ? -1 : system::get_window(terminal, size);
  }
  void* map_stack(std::size_t size) override {
    return fails(call::map_stack) ? nullptr : system::map_stack(size);
  }
  int open_timer() override { return fails(call::open_timer) ? -1 : system::open_timer(); }
  int open_signals(std::uint64_t mask) override {
    return fails(call::open_signals) ? -1 : system::open_signals(mask);
  }
  pid_t start_child(int (*body)(void*), void* stack_end, void* argument, int* pidfd) override {
    return fails(call::start_child) ? -1 : system::start_child(body, stack_end, argument, pidfd);
  }
  int signal_process(int pidfd, int number) override {
    return fails(call::signal_process) ? -1 : system::signal_process(pidfd, number);
  }
  int signal_group(pid_t group, int number) override {
    return fails(call::signal_group) ? -1 : system::signal_group(group, number);
  }
  int reap(int pidfd) override { return fails(call::reap) ? -1 : system::reap(pidfd); }

private:
  static constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

  struct plan {
    std::size_t count = 0;
    std::size_t at = 0;  // the first call that fails or is shortened; 0 for none
    std::size_t end = 0;
    int error = 0;
    share to = share::all;
  };

  /// Makes the call with no more bytes than allowed.
  template <class Call>
  ssize_t limited(int descriptor, const iovec* parts, int count, Call make) {
    std::size_t size = 0;
    for (int i = 0; i < count; ++i) size += parts[i].iov_len;
    std::size_t left = most_to_write(descriptor, size);
    if (left == size) return make(parts, count);
    std::array<iovec, 1024> shorter;
    int used = 0;
    for (; left != 0; ++used) {
      iovec& part = shorter[static_cast<std::size_t>(used)];
      part = parts[used];
      part.iov_len = std::min(part.iov_len, left);
      left -= part.iov_len;
    }
    return make(shorter.data(), used);
  }

  std::size_t most_to_read(int descriptor, std::size_t size) {
    size = std::min(size, most_);
    int there = 0;
    if (now_ == share::all || !carries_bytes(descriptor)) return size;
    if (::ioctl(descriptor, FIONREAD, &there) < 0) return size;
    return shortened(std::min(size, static_cast<std::size_t>(there)), size);
  }
  std::size_t most_to_write(int descriptor, std::size_t size) {
    size = std::min(size, most_);
    if (now_ == share::all || !carries_bytes(descriptor)) return size;
    return shortened(size, size);
  }
  unsigned most_messages(unsigned count) {
    count = std::min(count, most_messages_);
    return static_cast<unsigned>(shortened(count, count));
  }
  /// The part of what `could` move, or `otherwise` if that cannot be shortened.
  std::size_t shortened(std::size_t could, std::size_t otherwise) {
    if (now_ == share::all || could < 2) return otherwise;
    ++faults_;
    return now_ == share::one ? 1 : could - 1;
  }
  /// Whether a call on the descriptor may move a part: not on a socket with messages.
  static bool carries_bytes(int descriptor) {
    int type = SOCK_STREAM;
    socklen_t size = sizeof type;
    ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size);
    return type == SOCK_STREAM;
  }

  plan& of(call kind) { return plans_[static_cast<std::size_t>(kind)]; }

  bool fails(call kind) {
    plan& p = of(kind);
    ++p.count;
    ++total_;
    const bool planned = p.at != 0 && p.count >= p.at && p.count < p.end;
    now_ = planned ? p.to : share::all;
    int error = planned ? p.error : 0;
    if (any_error_ != 0 && total_ == any_at_) error = any_error_;
    if (total_ > most_calls_) error = EIO;
    if (error == 0) return false;
    ++faults_;
    errno = error;
    return true;
  }

  std::array<plan, static_cast<std::size_t>(call::kinds)> plans_{};
  std::size_t total_ = 0;
  int any_error_ = 0;
  std::size_t any_at_ = 0;
  std::size_t most_ = no_limit;
  unsigned most_messages_ = static_cast<unsigned>(-1);
  std::size_t most_calls_ = no_limit;
  share now_ = share::all;  // of the call that is being made
  std::size_t faults_ = 0;
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
