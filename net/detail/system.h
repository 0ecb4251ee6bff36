// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <sys/socket.h>
#include <sys/types.h>

struct addrinfo;

namespace eddy::detail {

/// The one seam to the operating system: every system call that `net/` makes
/// goes through here. A test puts a `system` in its place that fails the k-th
/// call, and a simulated network can stand in for the kernel.
///
/// Each member is the call of that name: -1 and `errno`. The base class is the
/// kernel itself.
class system {
public:
  constexpr system() noexcept = default;
  system(const system&) = delete;
  system& operator=(const system&) = delete;
  constexpr virtual ~system() = default;

  virtual int socket(int family, int type, int protocol);
  virtual int bind(int descriptor, const sockaddr* to, socklen_t size);
  virtual int listen(int descriptor, int backlog);
  virtual int accept(int descriptor, sockaddr* peer, socklen_t* size, int flags);
  virtual int connect(int descriptor, const sockaddr* to, socklen_t size);
  virtual ssize_t read(int descriptor, void* data, std::size_t size);
  virtual ssize_t send(int descriptor, const void* data, std::size_t size, int flags);
  virtual ssize_t send_message(int descriptor, const msghdr* message, int flags);
  virtual ssize_t receive_message(int descriptor, msghdr* message, int flags);
  virtual int shutdown(int descriptor, int how);
  /// How many bytes there are to read: FIONREAD.
  virtual int unread(int descriptor, int* bytes);
  virtual int close(int descriptor);
  virtual int get_option(int descriptor, int level, int name, void* value, socklen_t* size);
  virtual int set_option(int descriptor, int level, int name, const void* value, socklen_t size);
  virtual int local_name(int descriptor, sockaddr* name, socklen_t* size);
  virtual int peer_name(int descriptor, sockaddr* name, socklen_t* size);
  /// Sets O_NONBLOCK and FD_CLOEXEC.
  virtual int set_non_blocking(int descriptor);

  /// How many descriptors the process may have: RLIMIT_NOFILE.
  virtual std::size_t descriptor_limit();
  /// A copy with the least number that is free, and FD_CLOEXEC.
  virtual int duplicate(int descriptor);
  /// The number that the next descriptor would get, the least that is free; negative if none is.
  /// It is asked by a copy of `descriptor`.
  virtual int next_descriptor(int descriptor);

  virtual unsigned interface_index(const char* name);
  virtual char* interface_name(unsigned index, char* name);

  /// Whether /etc/hosts gives `host` an address of loopback.
  /// Threads: this one and `look_up` are called on a worker thread.
  virtual bool is_loopback_name(const char* host);
  virtual int look_up(const char* host, const addrinfo* hints, addrinfo** found);
  virtual void forget(addrinfo* found);
};

extern system kernel;
extern constinit thread_local system* installed [[gnu::tls_model("initial-exec")]];

/// What this thread's calls go to: the kernel, unless a `scoped_system` is set.
[[nodiscard]] inline system& os() noexcept { return *installed; }

/// Puts a system in the kernel's place on this thread, for a scope.
class [[nodiscard]] scoped_system {
public:
  explicit scoped_system(system& replacement) noexcept;
  scoped_system(const scoped_system&) = delete;
  scoped_system& operator=(const scoped_system&) = delete;
  ~scoped_system();

private:
  system* before_;
};

}  // namespace eddy::detail
