// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/udp_socket.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/socket_setup.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::callback_operation;
using detail::datagram_socket;
using detail::os;
using detail::socket_descriptor;

/// Makes a socket of the family of `name`, which is bound or connected next.
socket_descriptor new_socket(const address& named, const socket_options& how,
                             const std::string& doing) {
  if (named == address()) detail::throw_error(std::errc::invalid_argument, doing);
  const int family = named.is_v6() ? AF_INET6 : AF_INET;
  socket_descriptor descriptor(os().socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                               doing.c_str());
  const char* const refused =
      detail::set_up(descriptor.number(), family, detail::socket_use::datagrams, how);
  if (refused != nullptr) detail::throw_errno(detail::text({doing, ", option ", refused}));
  return descriptor;
}

std::unique_ptr<datagram_socket> own(event_loop& loop, socket_descriptor descriptor,
                                     const address& name, const datagram_socket::state& how) {
  auto made = std::make_unique<datagram_socket>(loop, descriptor.number(), name, how);
  static_cast<void>(descriptor.release());  // the open socket's now
  return made;
}

std::unique_ptr<datagram_socket> bound(event_loop& loop, const address& local,
                                       const socket_options& how) {
  const std::string doing = detail::text({"bind a UDP socket to ", local.to_string()});
  socket_descriptor descriptor = new_socket(local, how, doing);
  sockaddr_storage name;
  const socklen_t size = local.to(name);
  if (os().bind(descriptor.number(), reinterpret_cast<const sockaddr*>(&name), size) < 0) {
    detail::throw_errno(doing);
  }
  const address at = detail::local_name(descriptor.number());
  const datagram_socket::state state{
      .v6 = local.is_v6(), .icmp_errors = how.icmp_errors, .port = at.port()};
  return own(loop, std::move(descriptor), at, state);
}

void connect_descriptor(int descriptor, const address& peer, const std::string& doing) {
  sockaddr_storage name;
  const socklen_t size = peer.to(name);
  if (size == 0) detail::throw_error(std::errc::invalid_argument, doing);
  const int done = detail::uninterrupted(
      [&] { return os().connect(descriptor, reinterpret_cast<const sockaddr*>(&name), size); });
  if (done < 0) detail::throw_errno(doing);
}

std::unique_ptr<datagram_socket> connected_to(event_loop& loop, const address& peer,
                                              const socket_options& how) {
  const std::string doing = detail::text({"connect a UDP socket to ", peer.to_string()});
  socket_descriptor descriptor = new_socket(peer, how, doing);
  if (const char* const refused = detail::bind_local(descriptor.number(), how);
      refused != nullptr) {
    detail::throw_errno(detail::text({doing, ", option ", refused}));
  }
  connect_descriptor(descriptor.number(), peer, doing);
  const datagram_socket::state state{.v6 = peer.is_v6(),
                                     .connected = true,
                                     .icmp_errors = how.icmp_errors,
                                     .port = detail::local_name(descriptor.number()).port()};
  return own(loop, std::move(descriptor), peer, state);
}

std::unique_ptr<datagram_socket> taken_over(event_loop& loop, int number) {
  socket_descriptor descriptor(number);
  const std::string doing = detail::text({"take over descriptor ", number, " as a UDP socket"});
  const auto option = [&](int level, int name) {
    return detail::get_option(number, level, name, doing.c_str());
  };
  const int family = option(SOL_SOCKET, SO_DOMAIN);
  const bool udp = (family == AF_INET || family == AF_INET6) &&
                   option(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM &&
                   option(SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP;
  if (!udp) detail::throw_error(std::errc::wrong_protocol_type, doing);
  if (os().set_non_blocking(number) < 0) detail::throw_errno(doing);
  const address local = detail::local_name(number);
  sockaddr_storage name;
  socklen_t size = sizeof name;
  auto* const generic = reinterpret_cast<sockaddr*>(&name);
  const bool connected = os().peer_name(number, generic, &size) == 0;
  if (!connected && errno != ENOTCONN) detail::throw_errno(doing);
  const datagram_socket::state state{
      .v6 = family == AF_INET6,
      .connected = connected,
      .icmp_errors = option(IPPROTO_IP, IP_RECVERR) != 0 ||
                     (family == AF_INET6 && option(IPPROTO_IPV6, IPV6_RECVERR) != 0),
      .port = local.port()};
  const address shown = connected ? address::from(generic, size) : local;
  return own(loop, std::move(descriptor), shown, state);
}

}  // namespace

udp_socket::udp_socket() noexcept = default;

udp_socket::udp_socket(std::unique_ptr<datagram_socket> own) noexcept : own_(std::move(own)) {}

udp_socket::udp_socket(event_loop& loop, const address& local, const socket_options& how)
    : own_(bound(loop, local, how)) {}

udp_socket udp_socket::connected(event_loop& loop, const address& peer, const socket_options& how) {
  return udp_socket(connected_to(loop, peer, how));
}

udp_socket::udp_socket(event_loop& loop, int descriptor) : own_(taken_over(loop, descriptor)) {}

udp_socket::udp_socket(udp_socket&&) noexcept = default;

udp_socket& udp_socket::operator=(udp_socket&& other) noexcept {
  std::unique_ptr<datagram_socket> before = std::move(other.own_);
  before.swap(own_);
  return *this;
}

udp_socket::~udp_socket() { close(); }

void udp_socket::close() noexcept {
  // A handler that is destroyed with the socket may use this object.
  const std::unique_ptr<datagram_socket> dying = std::move(own_);
}

int udp_socket::release() noexcept {
  static_cast<void>(own());
  const std::unique_ptr<datagram_socket> dying = std::move(own_);
  return dying->socket().give_up();
}

bool udp_socket::open() const noexcept {
  if (own_ != nullptr) own_->socket().loop().check_thread();
  return own_ != nullptr;
}

void udp_socket::not_open() noexcept {
  detail::misuse("a udp_socket was used that is not open: it was closed, released, or moved from");
}

void udp_socket::receive(mutable_buffer into, handler<void(result<datagram>)> on_received) {
  detail::expect_handler(on_received, "udp_socket::receive");
  callback_operation<detail::receive_call>::start(socket(), detail::receive_call(own(), into),
                                                  std::move(on_received));
}

std::optional<result<datagram>> udp_socket::try_receive(mutable_buffer into) {
  return detail::once(socket(), detail::receive_call(own(), into));
}

void udp_socket::receive_many(std::span<incoming_datagram> into,
                              handler<void(result<std::size_t>)> on_received) {
  detail::expect_handler(on_received, "udp_socket::receive_many");
  using call = detail::receive_many_call;
  callback_operation<call>::start(socket(), call(own(), into), std::move(on_received));
}

std::optional<result<std::size_t>> udp_socket::try_receive_many(std::span<incoming_datagram> into) {
  return detail::once(socket(), detail::receive_many_call(own(), into));
}

void udp_socket::wait_readable(handler<void(result<void>)> on_readable) {
  detail::expect_handler(on_readable, "udp_socket::wait_readable");
  using call = detail::wait_datagram_call<readiness::direction::read>;
  callback_operation<call>::start(socket(), call(), std::move(on_readable));
}

void udp_socket::send(const_buffer bytes, const address& to, handler<void(result<void>)> on_sent) {
  send(outgoing_datagram(bytes, to), std::move(on_sent));
}

void udp_socket::send(const outgoing_datagram& what, handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "udp_socket::send");
  callback_operation<detail::send_call>::start(socket(), detail::send_call(own(), what),
                                               std::move(on_sent));
}

std::optional<result<void>> udp_socket::try_send(const_buffer bytes, const address& to,
                                                 const datagram_source& from) {
  return try_send(outgoing_datagram(bytes, to, from));
}

std::optional<result<void>> udp_socket::try_send(const outgoing_datagram& what) {
  return detail::once(socket(), detail::send_call(own(), what));
}

void udp_socket::send_many(std::span<const outgoing_datagram> all,
                           handler<void(result<std::size_t>)> on_sent) {
  detail::expect_handler(on_sent, "udp_socket::send_many");
  using call = detail::send_many_call;
  callback_operation<call>::start(socket(), call(own(), all), std::move(on_sent));
}

std::optional<result<std::size_t>> udp_socket::try_send_many(
    std::span<const outgoing_datagram> all) {
  return detail::once(socket(), detail::send_many_call(own(), all, false));
}

void udp_socket::wait_writable(handler<void(result<void>)> on_writable) {
  detail::expect_handler(on_writable, "udp_socket::wait_writable");
  using call = detail::wait_datagram_call<readiness::direction::write>;
  callback_operation<call>::start(socket(), call(), std::move(on_writable));
}

void udp_socket::connect(const address& peer) {
  datagram_socket& all = own();
  connect_descriptor(descriptor(), peer,
                     detail::text({"connect a UDP socket to ", peer.to_string()}));
  all.how().connected = true;
  all.socket().set_name(peer);
  all.how().port = local_address().port();
}

void udp_socket::disconnect() {
  datagram_socket& all = own();
  const std::string doing =
      detail::text({"disconnect a UDP socket from ", all.socket().name().to_string()});
  const std::uint16_t port = local_address().port();
  sockaddr_storage nobody{};
  nobody.ss_family = AF_UNSPEC;
  const int done = detail::uninterrupted([&] {
    return os().connect(descriptor(), reinterpret_cast<const sockaddr*>(&nobody), sizeof nobody);
  });
  if (done < 0) detail::throw_errno(doing);
  all.how().connected = false;
  const address local = local_address();
  all.socket().set_name(local.with_port(port));
  // The kernel keeps only a port that was asked for, and not one that it has chosen.
  if (local.port() != port) {
    sockaddr_storage name;
    const socklen_t size = local.with_port(port).to(name);
    if (os().bind(descriptor(), reinterpret_cast<const sockaddr*>(&name), size) < 0) {
      detail::throw_errno(doing);
    }
  }
}

address udp_socket::local_address() const { return detail::local_name(descriptor()); }

address udp_socket::peer_address() const noexcept {
  return own().how().connected ? socket().name() : address();
}

void udp_socket::join(const address& group, std::uint32_t interface) {
  change_group(MCAST_JOIN_GROUP, group, interface, "join ");
}

void udp_socket::leave(const address& group, std::uint32_t interface) {
  change_group(MCAST_LEAVE_GROUP, group, interface, "leave ");
}

void udp_socket::join_source(const address& group, const address& source, std::uint32_t interface) {
  change_source(MCAST_JOIN_SOURCE_GROUP, group, source, interface, "join ");
}

void udp_socket::leave_source(const address& group, const address& source,
                              std::uint32_t interface) {
  change_source(MCAST_LEAVE_SOURCE_GROUP, group, source, interface, "leave ");
}

void udp_socket::change_group(int option, const address& group, std::uint32_t interface,
                              const char* doing) {
  const int number = descriptor();
  group_req request{};
  request.gr_interface = interface != 0 ? interface : group.scope();
  const std::string words = detail::text({doing, group.host()});
  if (group.to(request.gr_group) == 0) detail::throw_error(std::errc::invalid_argument, words);
  if (option == MCAST_JOIN_GROUP) hear_only_joined(words.c_str());
  detail::set_option(number, group.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP, option, request,
                     words.c_str());
}

void udp_socket::change_source(int option, const address& group, const address& source,
                               std::uint32_t interface, const char* doing) {
  const int number = descriptor();
  group_source_req request{};
  request.gsr_interface = interface != 0 ? interface : group.scope();
  const std::string words = detail::text({doing, group.host(), " for the source ", source.host()});
  if (group.to(request.gsr_group) == 0 || source.to(request.gsr_source) == 0) {
    detail::throw_error(std::errc::invalid_argument, words);
  }
  if (option == MCAST_JOIN_SOURCE_GROUP) hear_only_joined(words.c_str());
  detail::set_option(number, group.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP, option, request,
                     words.c_str());
}

void udp_socket::hear_only_joined(const char* doing) {
  set_both(IP_MULTICAST_ALL, IPV6_MULTICAST_ALL, 0, doing);
}

void udp_socket::set_multicast_interface(std::uint32_t interface) {
  constexpr const char* doing = "setting the interface of multicast datagrams";
  const int number = descriptor();
  ip_mreqn request{};
  request.imr_ifindex = static_cast<int>(interface);
  detail::set_option(number, IPPROTO_IP, IP_MULTICAST_IF, request, doing);
  if (own().how().v6) {
    detail::set_option(number, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface, doing);
  }
}

void udp_socket::set_multicast_hops(int hops) {
  set_both(IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, hops, "setting the hops of multicast datagrams");
}

void udp_socket::set_multicast_loop(bool on) {
  set_both(IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on ? 1 : 0, "setting multicast loop");
}

void udp_socket::set_hops(int hops) {
  set_both(IP_TTL, IPV6_UNICAST_HOPS, hops, "setting the hops of datagrams");
}

/// Sets an option that each family has. An IPv6 socket may also send by IPv4.
void udp_socket::set_both(int v4_option, int v6_option, int value, const char* doing) {
  const int number = descriptor();
  // Only the kernel's own default is less than 0, and its options of IPv4 would take -1, too.
  if (value < 0) detail::throw_error(std::errc::invalid_argument, doing);
  detail::set_option(number, IPPROTO_IP, v4_option, value, doing);
  if (own().how().v6) detail::set_option(number, IPPROTO_IPV6, v6_option, value, doing);
}

}  // namespace eddy
