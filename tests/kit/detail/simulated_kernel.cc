// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_kernel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <span>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/testing/detail/simulated_options.h>

namespace eddy::detail {

namespace {

using pardon = failing_allocations::pardon;
using state = simulated_socket::state;

/// A number that no other socket of this process has had: a stale descriptor is never another's.
int next_number() noexcept {
  static constinit std::atomic<int> next{readiness_source::first_number};
  const int number = next.load(std::memory_order_relaxed);
  return number == INT_MAX ? -EMFILE : next.fetch_add(1, std::memory_order_relaxed);
}

/// The first bytes of an IPv6 address that stands for an IPv4 address: RFC 4291, 2.5.5.2.
constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// The address of a name; IPv4 if it is a mapped one.
address address_of(const sockaddr* name, socklen_t size) noexcept {
  const address found = address::from(name, size);
  if (!found.is_v6() ||
      !std::ranges::equal(mapped, std::span(found.bytes()).first(mapped.size()))) {
    return found;
  }
  address::v4_bytes bytes{};
  std::copy_n(found.bytes().begin() + mapped.size(), bytes.size(), bytes.begin());
  return {bytes, found.port()};
}

int put_name(const sockaddr_storage& from, std::size_t size, sockaddr* name,
             socklen_t* space) noexcept {
  if (name != nullptr) std::memcpy(name, &from, std::min(size, static_cast<std::size_t>(*space)));
  if (space != nullptr) *space = static_cast<socklen_t>(size);
  return 0;
}

/// Stores the name of an end for a socket of `family`.
int put_name(int family, const address& at, const unix_address& path, sockaddr* name,
             socklen_t* space) noexcept {
  sockaddr_storage storage{};
  if (family == AF_UNIX) return put_name(storage, path.to(storage), name, space);
  if (family == AF_INET || at.is_v6()) return put_name(storage, at.to(storage), name, space);
  address::v6_bytes bytes{};
  std::ranges::copy(mapped, bytes.begin());
  std::copy_n(at.bytes().begin(), 4, bytes.begin() + mapped.size());
  return put_name(storage, address(bytes, at.port()).to(storage), name, space);
}

}  // namespace

simulated_kernel::simulated_kernel(event_loop& loop, const simulated_network_options& how)
    : readiness_source(loop),
      simulated_context(loop, how),
      wire_(*this, *this),
      streams_(*this, wire_),
      tcp_(*this, wire_, streams_),
      unix_(*this, streams_) {}

simulated_kernel::~simulated_kernel() = default;

void simulated_kernel::add_name(std::string name, std::vector<address> addresses) {
  names_.insert_or_assign(std::move(name), std::move(addresses));
}

void simulated_kernel::reset_all() {
  const pardon own;
  note({"all connections are reset"});
  for (const auto& [descriptor, socket] : sockets_) {
    if (socket->is == state::connected && !socket->connection->local) {
      streams_.cut(*socket->connection);
    }
    for (const auto& connection : socket->queue) {
      if (!connection->local) streams_.cut(*connection);
    }
  }
}

// ---- Descriptors

simulated_socket* simulated_kernel::find(int descriptor) const noexcept {
  const auto found = sockets_.find(descriptor);
  return found == sockets_.end() ? nullptr : found->second.get();
}

template <class Result>
Result simulated_kernel::done(Result result) noexcept {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

template <class Function>
auto simulated_kernel::with(int descriptor, Function function) -> decltype(function(*find(0))) {
  const pardon own;
  simulated_socket* const socket = find(descriptor);
  if (socket == nullptr) return done<decltype(function(*socket))>(-EBADF);
  return done(function(*socket));
}

int simulated_kernel::refuse(std::string_view call) {
  const pardon own;
  note({"not simulated: ", call});
  errno = EOPNOTSUPP;
  return -1;
}

int simulated_kernel::refuse_datagrams(std::string_view call) {
  refuse(text({call, " of a Unix datagram socket"}));
  return -EOPNOTSUPP;
}

bool simulated_kernel::is_open(int descriptor) const noexcept {
  return sockets_.contains(descriptor);
}

bool simulated_kernel::is_ready(int descriptor, direction which) const noexcept {
  const simulated_socket& socket = *find(descriptor);
  if (socket.is == state::listening) return which == direction::read && !socket.queue.empty();
  return which == direction::read ? simulated_streams::readable(socket)
                                  : simulated_streams::writable(socket);
}

void simulated_kernel::changed(const simulated_socket& socket) noexcept {
  for (const direction which : watch::directions) {
    if (is_ready(socket.descriptor, which)) became_ready(socket.descriptor, which);
  }
}

void simulated_kernel::arrive(const simulated_packet& packet) {
  if (packet.connection->local) return streams_.arrive(packet);
  tcp_.arrive(packet);
}

void simulated_kernel::expire(simulated_connection& connection, unsigned side) {
  simulated_end& end = connection.ends[side];
  if (end.established) return streams_.fail(end, ETIMEDOUT);
  tcp_.expire(connection);
}

int simulated_kernel::make(int family, int type) {
  const int number = next_number();
  if (number < 0) return number;
  auto made = std::make_unique<simulated_socket>();
  made->descriptor = number;
  made->words = text({"socket ", ++made_});
  made->family = family;
  made->type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  made->local = family == AF_INET ? address::any_v4(0) : address::any_v6(0);
  made->send_buffer = made->receive_buffer = options().buffer_size;
  sockets_.emplace(number, std::move(made));
  return number;
}

int simulated_kernel::socket(int family, int type, int protocol) {
  const pardon own;
  const int bare = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  const bool tcp = (family == AF_INET || family == AF_INET6) && bare == SOCK_STREAM &&
                   (protocol == 0 || protocol == IPPROTO_TCP);
  // A datagram socket only finds out whether a file's socket is in use, or keeps a descriptor in
  // reserve.
  const bool local = family == AF_UNIX && (bare == SOCK_STREAM || bare == SOCK_DGRAM);
  if (tcp || local) return done(make(family, type));
  return refuse(text({"a socket of family ", family, ", type ", bare, ", protocol ", protocol}));
}

int simulated_kernel::socket_pair(int type, int* both) {
  const pardon own;
  if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) {
    return refuse(text({"a pair of sockets of type ", type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)}));
  }
  for (const int i : {0, 1}) {
    both[i] = make(AF_UNIX, type);
    if (both[i] < 0) {
      sockets_.erase(both[0]);
      return done(both[i]);
    }
  }
  simulated_unix::pair(*find(both[0]), *find(both[1]));
  note({find(both[0])->words, " and ", find(both[1])->words, " are a pair"});
  return 0;
}

int simulated_kernel::close(int descriptor) {
  if (!owns(descriptor)) return system::close(descriptor);
  return with(descriptor, [&](simulated_socket& s) {
    note({s.words, " closes"});
    if (s.family == AF_UNIX) {
      unix_.close(s);
    } else {
      tcp_.close(s);
    }
    if (s.connection != nullptr) streams_.close(s);
    sockets_.erase(descriptor);
    was_closed(descriptor);
    return 0;
  });
}

// ---- Names and connections

int simulated_kernel::bind(int descriptor, const sockaddr* to, socklen_t size) {
  if (!owns(descriptor)) return system::bind(descriptor, to, size);
  return with(descriptor, [&](simulated_socket& s) {
    if (s.type == SOCK_DGRAM) return refuse_datagrams("bind");
    if (s.family == AF_UNIX) return unix_.bind(s, unix_address::from(to, size));
    const address at = address_of(to, size);
    if (at == address() || (s.family == AF_INET && !at.is_v4())) return -EAFNOSUPPORT;
    return tcp_.bind(s, at);
  });
}

int simulated_kernel::listen(int descriptor, int backlog) {
  if (!owns(descriptor)) return system::listen(descriptor, backlog);
  return with(descriptor, [&](simulated_socket& s) {
    // somaxconn of Linux, which a backlog below zero gets, too.
    constexpr unsigned most = 4096;
    s.backlog = std::min(static_cast<unsigned>(backlog), most);
    if (s.type == SOCK_DGRAM) return -EOPNOTSUPP;
    if (s.family != AF_UNIX) return tcp_.listen(s);
    if (!s.bound) return -EINVAL;
    s.is = state::listening;
    note({s.words, " listens at ", s.path.to_string()});
    return 0;
  });
}

int simulated_kernel::connect(int descriptor, const sockaddr* to, socklen_t size) {
  if (!owns(descriptor)) return system::connect(descriptor, to, size);
  return with(descriptor, [&](simulated_socket& s) {
    if (s.family == AF_UNIX) {
      const unix_address path = unix_address::from(to, size);
      // Such a connect finds out whether the socket of a file is in use. It never succeeds.
      if (s.type == SOCK_DGRAM && !unix_.has_file(path)) return refuse_datagrams("connect");
      return unix_.connect(s, path);
    }
    const address peer = address_of(to, size);
    if (peer == address() || (s.family == AF_INET && !peer.is_v4())) return -EAFNOSUPPORT;
    return tcp_.connect(s, peer);
  });
}

int simulated_kernel::accept_from(simulated_socket& listener, sockaddr* peer, socklen_t* size) {
  if (listener.is != state::listening) return -EINVAL;
  if (listener.queue.empty()) return -EAGAIN;
  const int number = make(listener.family, listener.type);
  if (number < 0) return number;
  simulated_socket& s = *find(number);
  s.send_buffer = listener.send_buffer;
  s.receive_buffer = listener.receive_buffer;
  s.user_timeout = listener.user_timeout;
  s.resets_on_close = listener.resets_on_close;
  s.only_v6 = listener.only_v6;
  s.reuse_address = listener.reuse_address;
  s.reuse_port = listener.reuse_port;
  s.values = listener.values;
  simulated_streams::attach(s, std::move(listener.queue.front()), 1);
  listener.queue.pop_front();
  s.is = state::connected;
  s.local = s.end().name;
  s.path = s.end().path;
  note({listener.words, " accepts ", s.words});
  return put_name(s.family, s.peer().name, s.peer().path, peer, size) + number;
}

int simulated_kernel::accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) {
  if (!owns(descriptor)) return system::accept(descriptor, peer, size, flags);
  return with(descriptor, [&](simulated_socket& s) { return accept_from(s, peer, size); });
}

int simulated_kernel::local_name(int descriptor, sockaddr* name, socklen_t* size) {
  if (!owns(descriptor)) return system::local_name(descriptor, name, size);
  return with(descriptor,
              [&](simulated_socket& s) { return put_name(s.family, s.local, s.path, name, size); });
}

int simulated_kernel::peer_name(int descriptor, sockaddr* name, socklen_t* size) {
  if (!owns(descriptor)) return system::peer_name(descriptor, name, size);
  return with(descriptor, [&](simulated_socket& s) {
    if (s.is != state::connected || (s.end().reset && !s.connection->local)) return -ENOTCONN;
    return put_name(s.family, s.peer().name, s.peer().path, name, size);
  });
}

// ---- Bytes

ssize_t simulated_kernel::read(int descriptor, void* data, std::size_t size) {
  if (!owns(descriptor)) return system::read(descriptor, data, size);
  return with(descriptor, [&](simulated_socket& s) {
    return streams_.read(s, static_cast<char*>(data), size, false);
  });
}

ssize_t simulated_kernel::receive(int descriptor, void* data, std::size_t size, int flags) {
  if (!owns(descriptor)) return system::receive(descriptor, data, size, flags);
  if ((flags & ~(MSG_DONTWAIT | MSG_PEEK | MSG_NOSIGNAL)) != 0) return refuse("a flag of recv");
  return with(descriptor, [&](simulated_socket& s) -> ssize_t {
    if (s.type == SOCK_DGRAM) return refuse_datagrams("recv");
    return streams_.read(s, static_cast<char*>(data), size, (flags & MSG_PEEK) != 0);
  });
}

ssize_t simulated_kernel::receive_message(int descriptor, msghdr* message, int flags) {
  if (!owns(descriptor)) return system::receive_message(descriptor, message, flags);
  return with(descriptor, [&](simulated_socket& s) -> ssize_t {
    if ((flags & MSG_ERRQUEUE) != 0) return -EAGAIN;  // there is never an error in it
    if (s.type == SOCK_DGRAM) return refuse_datagrams("recvmsg");
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    ssize_t all = 0;
    for (std::size_t i = 0; i < message->msg_iovlen; ++i) {
      const iovec& part = message->msg_iov[i];
      if (part.iov_len == 0) continue;
      const ssize_t n = streams_.read(s, static_cast<char*>(part.iov_base), part.iov_len, false);
      if (n < 0) return all != 0 ? all : n;
      all += n;
      if (static_cast<std::size_t>(n) < part.iov_len) break;
    }
    return all;
  });
}

ssize_t simulated_kernel::send(int descriptor, const void* data, std::size_t size, int flags) {
  if (!owns(descriptor)) return system::send(descriptor, data, size, flags);
  if ((flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE)) != 0) return refuse("a flag of send");
  return with(descriptor, [&](simulated_socket& s) -> ssize_t {
    if (s.type == SOCK_DGRAM) return refuse_datagrams("send");
    return streams_.write(s, {static_cast<const char*>(data), size});
  });
}

ssize_t simulated_kernel::send_message(int descriptor, const msghdr* message, int flags) {
  if (!owns(descriptor)) return system::send_message(descriptor, message, flags);
  if (message->msg_controllen != 0) return refuse("a message with descriptors");
  return with(descriptor, [&](simulated_socket& s) -> ssize_t {
    if (s.type == SOCK_DGRAM) return refuse_datagrams("sendmsg");
    std::string bytes;
    for (std::size_t i = 0; i < message->msg_iovlen; ++i) {
      const iovec& part = message->msg_iov[i];
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    return streams_.write(s, bytes);
  });
}

ssize_t simulated_kernel::send_file(int to, int file, off_t* offset, std::size_t size) {
  if (!owns(to)) return system::send_file(to, file, offset, size);
  return with(to, [&](simulated_socket& s) -> ssize_t {
    const std::size_t space = s.is == state::connected ? simulated_streams::space(s) : 0;
    std::string bytes(std::min(size, std::max<std::size_t>(space, 1)), '\0');
    const ssize_t n = ::pread(file, bytes.data(), bytes.size(), *offset);
    if (n <= 0) return n < 0 ? -errno : 0;
    const ssize_t sent =
        streams_.write(s, std::string_view(bytes).substr(0, static_cast<std::size_t>(n)));
    if (sent > 0) *offset += sent;
    return sent;
  });
}

int simulated_kernel::shutdown(int descriptor, int how) {
  if (!owns(descriptor)) return system::shutdown(descriptor, how);
  return with(descriptor, [&](simulated_socket& s) { return streams_.shutdown(s, how); });
}

int simulated_kernel::poll(int descriptor, short events) {
  if (!owns(descriptor)) return system::poll(descriptor, events);
  return with(descriptor, [&](simulated_socket&) {
    const bool ready = ((events & POLLIN) != 0 && is_ready(descriptor, direction::read)) ||
                       ((events & POLLOUT) != 0 && is_ready(descriptor, direction::write));
    return ready ? 1 : 0;
  });
}

int simulated_kernel::unread(int descriptor, int* bytes) {
  if (!owns(descriptor)) return system::unread(descriptor, bytes);
  return with(descriptor, [&](simulated_socket& s) {
    *bytes = s.is == state::connected ? static_cast<int>(s.end().received.size()) : 0;
    return 0;
  });
}

// ---- Options

int simulated_kernel::get_option(int descriptor, int level, int name, void* value,
                                 socklen_t* size) {
  if (!owns(descriptor)) return system::get_option(descriptor, level, name, value, size);
  return with(descriptor, [&](simulated_socket& s) {
    const int error = get_simulated_option(s, level, name, value, size);
    if (error == -EOPNOTSUPP) refuse(text({"the value of option ", name, " of level ", level}));
    return error;
  });
}

int simulated_kernel::set_option(int descriptor, int level, int name, const void* value,
                                 socklen_t size) {
  if (!owns(descriptor)) return system::set_option(descriptor, level, name, value, size);
  return with(descriptor, [&](simulated_socket& s) {
    const int error = set_simulated_option(s, level, name, value, size);
    if (error == -EOPNOTSUPP) refuse(text({"option ", name, " of level ", level}));
    if (s.is == state::connected) {
      changed(s);  // there may be more space, also for the peer
      if (s.peer().socket != nullptr) changed(*s.peer().socket);
    }
    return error;
  });
}

int simulated_kernel::set_non_blocking(int descriptor) {
  if (!owns(descriptor)) return system::set_non_blocking(descriptor);
  return with(descriptor, [](simulated_socket&) { return 0; });
}

int simulated_kernel::set_blocking(int descriptor) {
  return owns(descriptor) ? refuse("a blocking socket") : system::set_blocking(descriptor);
}

// The number of simulated sockets has no limit.
std::size_t simulated_kernel::descriptor_limit() { return SIZE_MAX; }

int simulated_kernel::next_descriptor(int descriptor) {
  return owns(descriptor) ? 0 : system::next_descriptor(descriptor);
}

// ---- The files of Unix sockets

int simulated_kernel::status(const char* path, struct ::stat* what) {
  const pardon own;
  return done(unix_.status(path, what));
}

int simulated_kernel::set_mode(int descriptor, mode_t mode) {
  if (!owns(descriptor)) return system::set_mode(descriptor, mode);
  return with(descriptor, [&](simulated_socket& s) {
    s.mode = mode;
    return 0;
  });
}

int simulated_kernel::set_path_mode(const char* path, mode_t mode) {
  const pardon own;
  return done(unix_.set_mode(path, mode));
}

int simulated_kernel::rename(const char* from, const char* to, bool replaces) {
  const pardon own;
  return done(unix_.rename(from, to, replaces));
}

int simulated_kernel::remove(const char* path) {
  const pardon own;
  return done(unix_.remove(path));
}

// ---- Host names

bool simulated_kernel::is_loopback_name(const char* /*host*/) { return false; }

bool simulated_kernel::answers_at_once() { return true; }

bool simulated_kernel::asks_dns(const char* /*host*/) { return false; }

used_families simulated_kernel::families() { return {.v4 = true, .v6 = true}; }

std::uint64_t simulated_kernel::random() { return simulated_context::random(); }

namespace {

/// An answer of `look_up`.
struct answer {
  explicit answer(const address& a) noexcept {
    info.ai_addrlen = a.to(name);
    info.ai_family = name.ss_family;
    info.ai_addr = reinterpret_cast<sockaddr*>(&name);
  }
  addrinfo info{};  // first: `free_addresses` finds the answer by it
  sockaddr_storage name{};
};

}  // namespace

int simulated_kernel::look_up(const char* host, const addrinfo* /*hints*/, addrinfo** found) {
  const pardon own;
  const auto known = names_.find(std::string_view(host));
  note({"looks up ", visible(host)});
  if (known == names_.end()) return EAI_NONAME;
  addrinfo** end = found;
  *end = nullptr;
  for (const address& a : known->second) {
    *end = &(new answer(a))->info;
    end = &(*end)->ai_next;
  }
  return *found == nullptr ? EAI_NODATA : 0;
}

void simulated_kernel::free_addresses(addrinfo* found) {
  while (found != nullptr) {
    delete reinterpret_cast<answer*>(std::exchange(found, found->ai_next));
  }
}

// ---- Calls that are not simulated

ssize_t simulated_kernel::splice_in(int socket, int pipe, std::size_t size) {
  if (!owns(socket)) return system::splice_in(socket, pipe, size);
  refuse("splice");
  errno = EINVAL;  // as a kernel that cannot: `copy` moves the bytes itself
  return -1;
}

ssize_t simulated_kernel::splice_out(int pipe, int socket, std::size_t size) {
  return owns(socket) ? refuse("splice") : system::splice_out(pipe, socket, size);
}

int simulated_kernel::send_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) {
  return owns(descriptor) ? refuse("sendmmsg")
                          : system::send_messages(descriptor, messages, count, flags);
}

int simulated_kernel::receive_messages(int descriptor, mmsghdr* messages, unsigned count,
                                       int flags) {
  return owns(descriptor) ? refuse("recvmmsg")
                          : system::receive_messages(descriptor, messages, count, flags);
}

ssize_t simulated_kernel::write(int descriptor, const iovec* parts, int count) {
  return owns(descriptor) ? refuse("writev") : system::write(descriptor, parts, count);
}

ssize_t simulated_kernel::read_now(int descriptor, void* data, std::size_t size) {
  return owns(descriptor) ? refuse("preadv2") : system::read_now(descriptor, data, size);
}

ssize_t simulated_kernel::write_now(int descriptor, const iovec* parts, int count) {
  return owns(descriptor) ? refuse("pwritev2") : system::write_now(descriptor, parts, count);
}

int simulated_kernel::file_status(int descriptor, struct stat* status) {
  return owns(descriptor) ? refuse("fstat") : system::file_status(descriptor, status);
}

int simulated_kernel::duplicate(int descriptor) {
  return owns(descriptor) ? refuse("a copy of a descriptor") : system::duplicate(descriptor);
}

}  // namespace eddy::detail
