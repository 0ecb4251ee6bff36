// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/system.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/net/address.h>
#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/detail/name_services.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EDDY_HIDES_CLONE 1
#endif
#endif
#ifdef EDDY_HIDES_CLONE
// ThreadSanitizer takes each `clone` for a fork, and ends a program whose child shares its memory.
// It does not know this second name of the same function.
extern "C" int hidden_clone(int (*body)(void*), void* stack_end, int flags, void* argument,
                            ...) noexcept __asm__("__clone");
#endif

namespace eddy::detail {

namespace {

constexpr unsigned without_waiting = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
constexpr int without_signal = 0x100;  // RWF_NOSIGNAL, since Linux 6.18; glibc 2.36 has no name

/// Makes a call that writes `size` bytes and has no MSG_NOSIGNAL. The thread takes the SIGPIPE that
/// the call raises, unless there was one before; the process's action for it is not touched.
///
/// A call of several steps that meets a broken connection after the first raises the signal, too,
/// and returns the bytes that it wrote.
template <class Call>
ssize_t without_sigpipe(std::size_t size, Call call) {
  sigset_t broken;
  sigset_t before;
  sigset_t pending;
  ::sigemptyset(&broken);
  ::sigaddset(&broken, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken, &before);
  const bool was_pending = ::sigismember(&before, SIGPIPE) == 1 && ::sigpending(&pending) == 0 &&
                           ::sigismember(&pending, SIGPIPE) == 1;
  const ssize_t n = call();
  const int error = errno;
  const bool is_whole = n >= 0 && static_cast<std::size_t>(n) == size;
  const bool may_signal = !is_whole && (n >= 0 || error == EPIPE);
  if (may_signal && !was_pending) {
    const timespec at_once{};
    while (::sigtimedwait(&broken, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return n;
}

}  // namespace

constinit system kernel;
constinit thread_local system* installed [[gnu::tls_model("initial-exec")]] = &kernel;

scoped_system::scoped_system(system& replacement) noexcept
    : before_(std::exchange(installed, &replacement)) {}

scoped_system::~scoped_system() { installed = before_; }

int system::socket(int family, int type, int protocol) { return ::socket(family, type, protocol); }

int system::socket_pair(int type, int* both) { return ::socketpair(AF_UNIX, type, 0, both); }

int system::bind(int descriptor, const sockaddr* to, socklen_t size) {
  return ::bind(descriptor, to, size);
}

int system::listen(int descriptor, int backlog) { return ::listen(descriptor, backlog); }

int system::accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) {
  return ::accept4(descriptor, peer, size, flags);
}

int system::connect(int descriptor, const sockaddr* to, socklen_t size) {
  return ::connect(descriptor, to, size);
}

ssize_t system::read(int descriptor, void* data, std::size_t size) {
  return ::read(descriptor, data, size);
}

ssize_t system::send(int descriptor, const void* data, std::size_t size, int flags) {
  return ::send(descriptor, data, size, flags);
}

ssize_t system::send_message(int descriptor, const msghdr* message, int flags) {
  return ::sendmsg(descriptor, message, flags);
}

ssize_t system::receive_message(int descriptor, msghdr* message, int flags) {
  return ::recvmsg(descriptor, message, flags);
}

int system::send_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) {
  return ::sendmmsg(descriptor, messages, count, flags);
}

int system::receive_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) {
  return ::recvmmsg(descriptor, messages, count, flags, nullptr);
}

ssize_t system::splice_in(int socket, int pipe, std::size_t size) {
  return ::splice(socket, nullptr, pipe, nullptr, size, without_waiting);
}

ssize_t system::splice_out(int pipe, int socket, std::size_t size) {
  return without_sigpipe(
      size, [=] { return ::splice(pipe, nullptr, socket, nullptr, size, without_waiting); });
}

ssize_t system::send_file(int to, int file, off_t* offset, std::size_t size) {
  return without_sigpipe(size, [=] { return ::sendfile(to, file, offset, size); });
}

int system::shutdown(int descriptor, int how) { return ::shutdown(descriptor, how); }

ssize_t system::receive(int descriptor, void* data, std::size_t size, int flags) {
  return ::recv(descriptor, data, size, flags);
}

ssize_t system::write(int descriptor, const iovec* parts, int count) {
  // One flag for all descriptors: a kernel that does not know RWF_NOSIGNAL refuses it for each.
  static constinit std::atomic<bool> refused{false};
  if (!refused.load(std::memory_order_relaxed)) {
    const ssize_t n = ::pwritev2(descriptor, parts, count, -1, without_signal);
    if (n >= 0 || errno != EOPNOTSUPP) return n;
    refused.store(true, std::memory_order_relaxed);
  }
  return write_with_signal_blocked(descriptor, parts, count);
}

ssize_t system::read_now(int descriptor, void* data, std::size_t size) {
  iovec part{data, size};
  return ::preadv2(descriptor, &part, 1, -1, RWF_NOWAIT);
}

ssize_t system::write_now(int descriptor, const iovec* parts, int count) {
  return ::pwritev2(descriptor, parts, count, -1, without_signal | RWF_NOWAIT);
}

ssize_t system::read_at_now(int descriptor, void* data, std::size_t size, off_t offset) {
  iovec part{data, size};
  return ::preadv2(descriptor, &part, 1, offset, RWF_NOWAIT);
}

ssize_t system::write_at_now(int descriptor, const iovec* parts, int count, off_t offset) {
  return ::pwritev2(descriptor, parts, count, offset, RWF_NOWAIT);
}

ssize_t system::read_at(int descriptor, void* data, std::size_t size, off_t offset) {
  return ::pread(descriptor, data, size, offset);
}

ssize_t system::write_at(int descriptor, const void* data, std::size_t size, off_t offset) {
  return ::pwrite(descriptor, data, size, offset);
}

int system::sync(int descriptor) { return ::fsync(descriptor); }

int system::resize(int descriptor, off_t size) { return ::ftruncate(descriptor, size); }

int system::poll(int descriptor, short events) {
  pollfd one{descriptor, events, 0};
  return ::poll(&one, 1, 0);
}

int system::poll_for(int descriptor, short events, std::chrono::milliseconds most) {
  pollfd one{descriptor, events, 0};
  return ::poll(&one, 1, static_cast<int>(most.count()));
}

int system::open(const char* path, int flags, mode_t mode) {
  return ::open(path, flags | O_CLOEXEC, mode);
}

int system::file_status(int descriptor, struct stat* status) { return ::fstat(descriptor, status); }

int system::pipe(int* ends, int flags) { return ::pipe2(ends, flags | O_CLOEXEC); }

ssize_t write_with_signal_blocked(int descriptor, const iovec* parts, int count) noexcept {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  return without_sigpipe(size, [=] { return ::writev(descriptor, parts, count); });
}

int system::unread(int descriptor, int* bytes) { return ::ioctl(descriptor, FIONREAD, bytes); }

int system::close(int descriptor) { return ::close(descriptor); }

int system::get_option(int descriptor, int level, int name, void* value, socklen_t* size) {
  return ::getsockopt(descriptor, level, name, value, size);
}

int system::set_option(int descriptor, int level, int name, const void* value, socklen_t size) {
  return ::setsockopt(descriptor, level, name, value, size);
}

int system::local_name(int descriptor, sockaddr* name, socklen_t* size) {
  return ::getsockname(descriptor, name, size);
}

int system::peer_name(int descriptor, sockaddr* name, socklen_t* size) {
  return ::getpeername(descriptor, name, size);
}

int system::open_timer() { return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

int system::set_timer(int descriptor, std::chrono::nanoseconds left) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(left);
  itimerspec when{};
  when.it_value.tv_sec = whole.count();
  when.it_value.tv_nsec = (left - whole).count();
  return ::timerfd_settime(descriptor, 0, &when, nullptr);
}

int system::set_non_blocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
  return ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

int system::status(const char* path, struct ::stat* what) { return ::lstat(path, what); }

int system::set_mode(int descriptor, mode_t mode) { return ::fchmod(descriptor, mode); }

int system::set_path_mode(const char* path, mode_t mode) { return ::chmod(path, mode); }

int system::rename(const char* from, const char* to, bool replaces) {
  return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, replaces ? 0 : RENAME_NOREPLACE);
}

int system::remove(const char* path) { return ::unlink(path); }

pid_t system::process() { return ::getpid(); }

int system::status_flags(int descriptor) { return ::fcntl(descriptor, F_GETFL); }

int system::set_blocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags < 0 ? -1 : ::fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
}

int system::open_terminal() {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return -1;
  if (::grantpt(master) == 0 && ::unlockpt(master) == 0) return master;
  const int error = errno;
  ::close(master);
  errno = error;
  return -1;
}

int system::open_terminal_peer(int master) {
  return ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int system::set_window(int terminal, const winsize* size) {
  return ::ioctl(terminal, TIOCSWINSZ, size);
}

int system::get_window(int terminal, winsize* size) { return ::ioctl(terminal, TIOCGWINSZ, size); }

void* system::map_stack(std::size_t size) {
  void* const stack =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  return stack == MAP_FAILED ? nullptr : stack;
}

int system::unmap_stack(void* stack, std::size_t size) { return ::munmap(stack, size); }

// The C library's functions leave out the two signals that it uses itself. Their handlers must not
// run in the child, either.
void system::block_signals(std::uint64_t* before) {
  constexpr std::uint64_t all = ~std::uint64_t{0};
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, sizeof all);
}

void system::restore_signals(const std::uint64_t* before) {
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, nullptr, sizeof *before);
}

std::uint64_t system::blocked_signals() {
  std::uint64_t mask = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof mask);
  return mask;
}

int system::open_signals(std::uint64_t mask) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number = 1; number <= 64; ++number) {
    if ((mask >> (number - 1) & 1) != 0) ::sigaddset(&set, number);
  }
  return ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

pid_t system::start_child(int (*body)(void*), void* stack_end, void* argument, int* pidfd) {
  constexpr int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
#ifdef EDDY_HIDES_CLONE
  return hidden_clone(body, stack_end, flags, argument, pidfd);
#else
  return ::clone(body, stack_end, flags, argument, pidfd);
#endif
}

int system::signal_process(int pidfd, int number) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0));
}

int system::signal_group(pid_t group, int number) { return ::kill(-group, number); }

int system::reap(int pidfd) {
  siginfo_t info{};
  return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | __WALL);
}

std::size_t system::descriptor_limit() {
  struct rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : SIZE_MAX;
}

int system::duplicate(int descriptor) { return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }

int system::next_descriptor(int descriptor) {
  const int number = duplicate(descriptor);
  if (number >= 0) close(number);
  return number;
}

unsigned system::interface_index(const char* name) { return ::if_nametoindex(name); }

char* system::interface_name(unsigned index, char* name) { return ::if_indextoname(index, name); }

bool system::is_loopback_name(const char* host) { return file_gives_loopback("/etc/hosts", host); }

bool system::answers_at_once() { return false; }

int system::look_up(const char* host, const addrinfo* hints, addrinfo** found) {
  return ::getaddrinfo(host, nullptr, hints, found);
}

void system::free_addresses(addrinfo* found) { ::freeaddrinfo(found); }

int system::service_port(const char* name) {
  servent entry{};
  servent* found = nullptr;
  std::vector<char> buffer(1024);
  while (::getservbyname_r(name, "tcp", &entry, buffer.data(), buffer.size(), &found) == ERANGE) {
    buffer.resize(2 * buffer.size());
  }
  return found == nullptr ? -1 : ntohs(static_cast<std::uint16_t>(found->s_port));
}

bool system::asks_dns(const char* host) {
  std::array<char, HOST_NAME_MAX + 1> own{};
  if (::gethostname(own.data(), own.size() - 1) != 0) own[0] = '\0';
  return file_asks_dns("/etc/nsswitch.conf", host, own.data());
}

used_families system::families() {
  used_families used{false, false};
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return {true, true};
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    const bool v4 = i->ifa_addr->sa_family == AF_INET;
    const bool v6 = i->ifa_addr->sa_family == AF_INET6;
    if (!v4 && !v6) continue;
    if (address::from(i->ifa_addr, v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)).is_loopback()) {
      continue;
    }
    used.v4 = used.v4 || v4;
    used.v6 = used.v6 || v6;
  }
  ::freeifaddrs(first);
  return used;
}

std::uint64_t system::random() {
  std::uint64_t number = 0;
  while (::getrandom(&number, sizeof number, 0) < 0 && errno == EINTR) {
  }
  return number;
}

}  // namespace eddy::detail
