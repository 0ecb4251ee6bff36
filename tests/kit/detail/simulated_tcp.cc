// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_tcp.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace eddy::detail {

namespace {

using kind = simulated_packet::kind;
using state = simulated_socket::state;

// The range of Linux: ip_local_port_range in ip(7).
constexpr std::uint16_t first_port = 32768;
constexpr std::uint16_t last_port = 60999;

// The first pause before a handshake that a full listener did not take is repeated: RFC 6298, 2.1.
constexpr duration first_pause = std::chrono::seconds(1);

/// Whether an address stands for many hosts. Without subnets, there are two broadcast addresses.
bool has_many_hosts(const address& a) noexcept {
  const auto& bytes = a.bytes();
  if (a.is_v6()) return bytes[0] == 0xff;              // RFC 4291, 2.7
  if (bytes[0] >= 224 && bytes[0] < 240) return true;  // RFC 5771
  return (bytes[0] == 255 || bytes[0] == 127) && bytes[1] == 255 && bytes[2] == 255 &&
         bytes[3] == 255;
}

/// Whether an address is of one link, and does not say of which: RFC 4007, 6.
bool lacks_scope(const address& a) noexcept {
  return a.is_v6() && a.scope() == 0 && a.bytes()[0] == 0xfe && (a.bytes()[1] & 0xc0) == 0x80;
}

/// Whether a socket at `own` gets the connections to `to`.
bool covers(const address& own, bool only_v6, const address& to) noexcept {
  if (own.port() != to.port()) return false;
  if (own == to) return true;
  return own.is_any() && (own.is_v4() == to.is_v4() || (own.is_v6() && !only_v6));
}

}  // namespace

std::uint16_t simulated_tcp::free_port() noexcept {
  for (int i = first_port; i <= last_port; ++i) {
    const std::uint16_t port = next_port_;
    next_port_ = port == last_port ? first_port : static_cast<std::uint16_t>(port + 1);
    if (!bound_.contains(port)) return port;
  }
  return 0;
}

std::span<simulated_socket* const> simulated_tcp::sockets_at(std::uint16_t port) noexcept {
  const auto found = bound_.find(port);
  return found == bound_.end() ? std::span<simulated_socket* const>() : found->second;
}

bool simulated_tcp::taken(const simulated_socket& socket, const address& at) noexcept {
  return std::ranges::any_of(sockets_at(at.port()), [&](const simulated_socket* other) {
    if (other == &socket) return false;
    if (!covers(at, socket.only_v6, other->local) && !covers(other->local, other->only_v6, at)) {
      return false;
    }
    if (socket.reuse_port && other->reuse_port) return false;
    const bool one_listens = socket.is == state::listening || other->is == state::listening;
    return one_listens || !socket.reuse_address || !other->reuse_address;
  });
}

bool simulated_tcp::connected(const address& own, const address& peer) noexcept {
  return std::ranges::any_of(sockets_at(own.port()), [&](const simulated_socket* other) {
    return other->connection != nullptr && !other->end().reset && other->end().name == own &&
           other->peer().name == peer;
  });
}

void simulated_tcp::take(simulated_socket& socket, const address& at) {
  bound_[at.port()].push_back(&socket);
  socket.local = at;
  socket.bound = true;
}

int simulated_tcp::bind(simulated_socket& socket, const address& to) {
  if (socket.bound) return -EINVAL;
  if (lacks_scope(to) || (to.is_v6() && has_many_hosts(to))) return -EINVAL;
  address at = to;
  if (at.port() == 0) at = to.with_port(free_port());
  if (at.port() == 0 || taken(socket, at)) return -EADDRINUSE;
  take(socket, at);
  if (at.is_v6() && !at.is_any()) socket.only_v6 = true;  // as Linux
  return 0;
}

int simulated_tcp::listen(simulated_socket& socket) {
  if (socket.is != state::unconnected && socket.is != state::listening) return -EINVAL;
  if (!socket.bound) {
    if (const int error = bind(socket, socket.local); error != 0) return error;
  }
  const state before = socket.is;
  socket.is = state::listening;
  const bool other =
      std::ranges::any_of(sockets_at(socket.local.port()), [&](const simulated_socket* s) {
        return s->is == state::listening && s != &socket &&
               (covers(s->local, s->only_v6, socket.local) ||
                covers(socket.local, socket.only_v6, s->local)) &&
               !(s->reuse_port && socket.reuse_port);
      });
  if (other) {
    socket.is = before;
    return -EADDRINUSE;
  }
  context_.note({socket.words, " listens at ", socket.local.to_string()});
  return 0;
}

int simulated_tcp::connect(simulated_socket& socket, const address& to) {
  if (socket.is == state::connecting) return -EALREADY;
  if (socket.is != state::unconnected) return -EISCONN;
  address peer = to;
  if (peer.is_any()) {
    peer = peer.is_v4() ? address::loopback_v4(peer.port()) : address::loopback_v6(peer.port());
  }
  if (has_many_hosts(peer)) return -ENETUNREACH;
  if (lacks_scope(peer)) return -EINVAL;
  address own = socket.local;
  if (!socket.bound || own.is_any()) {
    const simulated_network_options& how = context_.options();
    const address& home = peer.is_v4() ? how.home_v4 : how.home_v6;
    const address loopback = peer.is_v4() ? address::loopback_v4(0) : address::loopback_v6(0);
    own = (peer.is_loopback() ? loopback : home).with_port(socket.bound ? own.port() : free_port());
  }
  if (own.is_v4() != peer.is_v4()) return -ENETUNREACH;
  if (own.port() == 0) return -EADDRNOTAVAIL;
  if (connected(own, peer)) return -EADDRNOTAVAIL;
  if (!socket.bound) take(socket, own);
  socket.local = own;
  const auto connection = std::make_shared<simulated_connection>();
  connection->ends[0].name = own;
  connection->ends[1].name = peer;
  simulated_streams::attach(socket, connection, 0);
  socket.is = state::connecting;
  context_.note({socket.words, " connects from ", own.to_string(), " to ", peer.to_string()});
  wire_.set_alarm(connection, 0, context_.options().connect_limit);
  wire_.send({connection, 1, kind::connect, {}, 0});
  return -EINPROGRESS;
}

void simulated_tcp::close(simulated_socket& socket) {
  if (socket.bound) {
    const auto port = bound_.find(socket.local.port());
    std::erase(port->second, &socket);
    if (port->second.empty()) bound_.erase(port);
  }
  for (const auto& connection : socket.queue) {
    simulated_end& e = connection->ends[1];
    e.gone = true;
    if (!std::exchange(e.reset, true)) wire_.send({connection, 0, kind::reset, {}, 0});
  }
  socket.queue.clear();
}

// ---- Handshakes

simulated_socket* simulated_tcp::listener_at(const address& at) {
  std::vector<simulated_socket*> best;
  bool exact = false;
  for (simulated_socket* const s : sockets_at(at.port())) {
    if (s->is != state::listening || !covers(s->local, s->only_v6, at)) continue;
    const bool this_exact = s->local == at;
    if (this_exact && !std::exchange(exact, true)) best.clear();
    if (this_exact == exact) best.push_back(s);
  }
  if (best.size() < 2) return best.empty() ? nullptr : best[0];
  return best[context_.below(best.size())];  // as SO_REUSEPORT
}

simulated_socket* simulated_tcp::listener_of(const simulated_connection& connection) noexcept {
  const auto all = sockets_at(connection.ends[1].name.port());
  const auto found = std::ranges::find(all, connection.listener, &simulated_socket::descriptor);
  return found == all.end() ? nullptr : *found;
}

void simulated_tcp::arrive_at_listener(const simulated_packet& packet) {
  simulated_connection& connection = *packet.connection;
  const auto answer = [&](kind what) { wire_.send({packet.connection, 0, what, {}, 0}); };
  for (const simulated_end& end : connection.ends) {
    if (wire_.of(end.name) == simulated_network::host::unreachable) {
      return answer(kind::unreachable);
    }
  }
  simulated_socket* const listener = listener_at(connection.ends[1].name);
  if (listener == nullptr) return answer(kind::refuse);
  if (listener->queue.size() + listener->handshakes > listener->backlog) {  // as Linux, one more
    if (connection.ends[0].gone) return;
    const auto factor = std::uint64_t{1} << std::min(connection.attempts++, 16);
    return wire_.send(packet, times(first_pause, factor));
  }
  ++listener->handshakes;
  connection.listener = listener->descriptor;
  connection.ends[1].send_buffer = listener->send_buffer;
  connection.ends[1].receive_buffer = listener->receive_buffer;
  answer(kind::accept);
}

void simulated_tcp::confirm(const simulated_packet& packet) {
  simulated_socket* const listener = listener_of(*packet.connection);
  if (listener == nullptr) {
    packet.connection->ends[1].gone = packet.connection->ends[1].reset = true;
    return wire_.send({packet.connection, 0, kind::reset, {}, 0});
  }
  --listener->handshakes;
  packet.connection->listener = -1;
  packet.connection->ends[1].established = true;
  listener->queue.push_back(packet.connection);
  context_.changed(*listener);
}

void simulated_tcp::end_connect(simulated_connection& connection, int error) {
  simulated_end& end = connection.ends[0];
  if (end.socket == nullptr) return;
  end.socket->is = state::connected;
  if (error != 0) return streams_.fail(end, error);
  wire_.clear_alarm(end);
  end.established = true;
  context_.note({end.words, " is connected"});
  context_.changed(*end.socket);
}

void simulated_tcp::arrive(const simulated_packet& packet) {
  simulated_connection& connection = *packet.connection;
  switch (packet.what) {
    case kind::connect: return arrive_at_listener(packet);
    case kind::accept: {
      const bool wanted = connection.ends[0].socket != nullptr && !connection.ends[0].reset;
      if (wanted) end_connect(connection, 0);
      return wire_.send({packet.connection, 1, wanted ? kind::confirm : kind::reset, {}, 0});
    }
    case kind::confirm: return confirm(packet);
    case kind::refuse: return end_connect(connection, ECONNREFUSED);
    case kind::unreachable: return end_connect(connection, EHOSTUNREACH);
    case kind::reset:
      // A client may give up during the handshake.
      if (simulated_socket* const listener = listener_of(connection)) {
        --listener->handshakes;
        connection.listener = -1;
        return;
      }
      break;
    default: break;
  }
  streams_.arrive(packet);
}

void simulated_tcp::expire(simulated_connection& connection) { end_connect(connection, ETIMEDOUT); }

}  // namespace eddy::detail
