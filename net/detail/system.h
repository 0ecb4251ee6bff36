// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <eddy/loop/detail/descriptor.h>

struct addrinfo;
struct mmsghdr;
struct iovec;
struct winsize;

namespace eddy::detail {

/// The families of addresses that a machine uses.
struct used_families {
  bool v4;
  bool v6;
};

/// The seam to the operating system: every system call of `net/` goes through it.
///
/// A test installs a derived class that fails the k-th call, and a simulated network can stand in
/// for the kernel. Each member is the system call of that name, which returns -1 and sets `errno`
/// if it fails. The base class calls the kernel.
///
/// A derived class may also make descriptors that the kernel does not know. Their numbers begin at
/// `readiness_source::first_number`, and the class tells their readiness as a `readiness_source` of
/// the loop.
class system {
public:
  constexpr system() noexcept = default;
  system(const system&) = delete;
  system& operator=(const system&) = delete;
  constexpr virtual ~system() = default;

  virtual int socket(int family, int type, int protocol);
  /// Makes two connected Unix sockets. As for `socket`, `type` holds the flags, too.
  virtual int socket_pair(int type, int* both);
  virtual int bind(int descriptor, const sockaddr* to, socklen_t size);
  virtual int listen(int descriptor, int backlog);
  virtual int accept(int descriptor, sockaddr* peer, socklen_t* size, int flags);
  virtual int connect(int descriptor, const sockaddr* to, socklen_t size);
  virtual ssize_t read(int descriptor, void* data, std::size_t size);
  virtual ssize_t send(int descriptor, const void* data, std::size_t size, int flags);
  virtual ssize_t send_message(int descriptor, const msghdr* message, int flags);
  virtual ssize_t receive_message(int descriptor, msghdr* message, int flags);
  /// Sends up to `count` messages: sendmmsg.
  virtual int send_messages(int descriptor, mmsghdr* messages, unsigned count, int flags);
  /// Receives up to `count` messages: recvmmsg without a time limit.
  virtual int receive_messages(int descriptor, mmsghdr* messages, unsigned count, int flags);
  /// Moves bytes from a socket to a pipe, whose reading end this process has, without waiting:
  /// splice(2).
  virtual ssize_t splice_in(int socket, int pipe, std::size_t size);
  /// Moves bytes from a pipe to a socket without waiting and without SIGPIPE: splice(2).
  virtual ssize_t splice_out(int pipe, int socket, std::size_t size);
  /// Sends bytes of a file from `*offset` on, which it advances, without SIGPIPE: sendfile(2).
  virtual ssize_t send_file(int to, int file, off_t* offset, std::size_t size);
  virtual int shutdown(int descriptor, int how);
  virtual ssize_t receive(int descriptor, void* data, std::size_t size, int flags);

  /// Writes at the file's position, and raises no SIGPIPE.
  virtual ssize_t write(int descriptor, const iovec* parts, int count);
  /// Reads without waiting, also from a descriptor that is not non-blocking: RWF_NOWAIT. Fails with
  /// EOPNOTSUPP if the kernel cannot do that for this kind of file.
  virtual ssize_t read_now(int descriptor, void* data, std::size_t size);
  /// Writes without waiting and without SIGPIPE, as `read_now` reads.
  virtual ssize_t write_now(int descriptor, const iovec* parts, int count);

  // Files, read and written at an offset.

  /// Reads at `offset` without waiting, as `read_now` does.
  virtual ssize_t read_at_now(int descriptor, void* data, std::size_t size, off_t offset);
  /// Writes at `offset` without waiting, as `read_now` reads.
  virtual ssize_t write_at_now(int descriptor, const iovec* parts, int count, off_t offset);
  /// Reads at `offset`: pread(2).
  /// Threads: worker threads call `read_at`, `write_at`, `sync`, `resize`, and for files also
  /// `open`, `file_status`, `duplicate` and `close`.
  virtual ssize_t read_at(int descriptor, void* data, std::size_t size, off_t offset);
  /// Writes at `offset`: pwrite(2).
  virtual ssize_t write_at(int descriptor, const void* data, std::size_t size, off_t offset);
  /// Waits until the disk has all bytes of a file: fsync(2).
  virtual int sync(int descriptor);
  /// Sets the size of a file: ftruncate(2).
  virtual int resize(int descriptor, off_t size);

  /// Returns 1 if the descriptor has one of `events` or an error now, else 0.
  virtual int poll(int descriptor, short events);
  /// The same, but blocks the thread until then, for at most `most`.
  virtual int poll_for(int descriptor, short events, std::chrono::milliseconds most);
  /// Opens with O_CLOEXEC.
  virtual int open(const char* path, int flags, mode_t mode);
  virtual int file_status(int descriptor, struct stat* status);
  /// Makes a pipe whose ends have `flags` and O_CLOEXEC.
  virtual int pipe(int* ends, int flags);
  /// Stores the number of bytes that can be read: FIONREAD.
  virtual int unread(int descriptor, int* bytes);
  virtual int close(int descriptor);
  virtual int get_option(int descriptor, int level, int name, void* value, socklen_t* size);
  virtual int set_option(int descriptor, int level, int name, const void* value, socklen_t size);
  virtual int local_name(int descriptor, sockaddr* name, socklen_t* size);
  virtual int peer_name(int descriptor, sockaddr* name, socklen_t* size);
  /// Sets O_NONBLOCK and FD_CLOEXEC.
  virtual int set_non_blocking(int descriptor);

  /// Makes a timer of the monotonic clock whose descriptor is readable when its time has passed.
  virtual int open_timer();
  /// Sets the time of a timer, which counts from now and is more than zero.
  virtual int set_timer(int descriptor, std::chrono::nanoseconds left);

  // The files of Unix sockets.

  /// Stores what `path` is, and does not follow it if it is a symbolic link: lstat(2).
  virtual int status(const char* path, struct ::stat* what);
  /// Sets the permissions with which a socket will be bound: fchmod(2).
  virtual int set_mode(int descriptor, mode_t mode);
  /// Sets the permissions of a file: chmod(2).
  virtual int set_path_mode(const char* path, mode_t mode);
  /// Renames a file. Fails with EEXIST if `to` exists and `replaces` is false.
  virtual int rename(const char* from, const char* to, bool replaces);
  /// Removes a file: unlink(2).
  virtual int remove(const char* path);
  /// The number of this process, which cannot fail.
  virtual pid_t process();

  /// The flags of the open file, with the access mode among them: fcntl(2), F_GETFL.
  virtual int status_flags(int descriptor);
  /// Clears O_NONBLOCK.
  virtual int set_blocking(int descriptor);

  /// Opens the master of a new pseudo-terminal, non-blocking.
  virtual int open_terminal();
  /// Opens the other end of the pseudo-terminal `master`.
  virtual int open_terminal_peer(int master);
  virtual int set_window(int terminal, const winsize* size);
  virtual int get_window(int terminal, winsize* size);

  /// Memory for a stack; null if there is none.
  virtual void* map_stack(std::size_t size);
  virtual int unmap_stack(void* stack, std::size_t size);
  /// Blocks all signals of this thread and stores the old mask, or restores that mask. Neither
  /// fails.
  virtual void block_signals(std::uint64_t* before);
  virtual void restore_signals(const std::uint64_t* before);
  /// The signals that this thread blocks: signal 1 is the lowest bit.
  virtual std::uint64_t blocked_signals();
  /// Makes a non-blocking signalfd for the signals of `mask`.
  virtual int open_signals(std::uint64_t mask);
  /// Runs `body` in a child process that shares this process's memory, as `vfork` does: returns
  /// when the child has executed a program or ended. Stores a descriptor of the child.
  virtual pid_t start_child(int (*body)(void*), void* stack_end, void* argument, int* pidfd);
  /// Sends a signal to one process.
  virtual int signal_process(int pidfd, int number);
  /// Sends a signal to a process group.
  virtual int signal_group(pid_t group, int number);
  /// Waits until the child has ended, and reaps it.
  virtual int reap(int pidfd);

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
  /// Whether `look_up` and `service_port` answer without waiting. The loop's own thread calls them
  /// then, and the order of events does not depend on another thread.
  virtual bool answers_at_once();
  virtual int look_up(const char* host, const addrinfo* hints, addrinfo** found);
  virtual void free_addresses(addrinfo* found);
  /// The port of a TCP service by its name, or -1: getservbyname_r(3).
  /// Threads: worker threads call it.
  virtual int service_port(const char* name);

  /// Whether only /etc/hosts and name servers have to be asked for `host`: /etc/nsswitch.conf.
  virtual bool asks_dns(const char* host);
  /// The families of which this machine has an address that is not a loopback address.
  virtual used_families families();
  /// A random number.
  virtual std::uint64_t random();
};

extern system kernel;
extern constinit thread_local system* installed [[gnu::tls_model("initial-exec")]];

/// The system that this thread calls: the kernel, unless a `scoped_system` replaces it.
[[nodiscard]] inline system& os() noexcept { return *installed; }

/// Writes and raises no SIGPIPE, on kernels before 6.18, which have no flag for that: it blocks the
/// signal of this thread for the call, and takes back the signal that the call raised.
ssize_t write_with_signal_blocked(int descriptor, const iovec* parts, int count) noexcept;

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
