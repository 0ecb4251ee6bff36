// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <sys/socket.h>
#include <sys/types.h>

#include <eddy/loop/detail/descriptor.h>

struct addrinfo;

namespace eddy::detail {

/// The seam to the operating system: every system call of `net/` goes through it.
///
/// A test installs a derived class that fails the k-th call, and a simulated network can stand in
/// for the kernel. Each member is the system call of that name, which returns -1 and sets `errno`
/// if it fails. The base class calls the kernel.
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
  /// Stores the number of bytes that can be read: FIONREAD.
  virtual int unread(int descriptor, int* bytes);
  virtual int close(int descriptor);
  virtual int get_option(int descriptor, int level, int name, void* value, socklen_t* size);
  virtual int set_option(int descriptor, int level, int name, const void* value, socklen_t size);
  virtual int local_name(int descriptor, sockaddr* name, socklen_t* size);
  virtual int peer_name(int descriptor, sockaddr* name, socklen_t* size);
  /// Sets O_NONBLOCK and FD_CLOEXEC.
  virtual int set_non_blocking(int descriptor);

  /// The number of descriptors that the process may have: RLIMIT_NOFILE.
  virtual std::size_t descriptor_limit();
  /// Makes a copy with the lowest free number and FD_CLOEXEC.
  virtual int duplicate(int descriptor);
  /// The lowest free descriptor number; negative if there is none. To find it, this makes a copy of
  /// `descriptor` and closes the copy.
  virtual int next_descriptor(int descriptor);

  virtual unsigned interface_index(const char* name);
  virtual char* interface_name(unsigned index, char* name);

  /// Whether /etc/hosts has a loopback address for `host`.
  /// Threads: worker threads call `is_loopback_name`, `look_up` and `free_addresses`.
  virtual bool is_loopback_name(const char* host);
  virtual int look_up(const char* host, const addrinfo* hints, addrinfo** found);
  virtual void free_addresses(addrinfo* found);
};

extern system kernel;
extern constinit thread_local system* installed [[gnu::tls_model("initial-exec")]];

/// The system that this thread calls: the kernel, unless a `scoped_system` replaces it.
[[nodiscard]] inline system& os() noexcept { return *installed; }

inline int close_through_seam(int descriptor) { return os().close(descriptor); }
/// Owns a descriptor of `net/`, and closes it through the seam.
using socket_descriptor = owned_descriptor<&close_through_seam>;

/// Replaces the kernel on this thread while it exists.
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
