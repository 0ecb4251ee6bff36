// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_streams.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <sys/socket.h>

namespace eddy::detail {

namespace {

using kind = simulated_packet::kind;
using state = simulated_socket::state;

/// Whether a write to a Unix socket fails because the peer reads no more.
bool broken(const simulated_socket& socket) noexcept {
  return socket.connection->local && (socket.peer().gone || socket.peer().shut_in);
}

/// Whether a Unix socket can neither read nor write any more. As in Linux, only this and free
/// space make it writable: a socket whose peer reads no more stays full.
bool hung_up(const simulated_socket& socket) noexcept {
  const simulated_end& e = socket.end();
  return e.reset || ((e.ended_in || e.shut_in) && (e.ended_out || broken(socket)));
}

}  // namespace

bool simulated_streams::readable(const simulated_socket& socket) noexcept {
  if (socket.is == state::unconnected) return true;  // a read fails at once
  if (socket.is != state::connected) return false;
  const simulated_end& e = socket.end();
  return e.received.size() != 0 || e.ended_in || e.shut_in || e.error != 0 || e.reset;
}

bool simulated_streams::writable(const simulated_socket& socket) noexcept {
  if (socket.is == state::unconnected) return true;
  if (socket.is != state::connected) return false;
  if (space(socket) != 0) return true;
  if (socket.connection->local) return hung_up(socket);
  const simulated_end& e = socket.end();
  return e.ended_out || e.error != 0 || e.reset;
}

std::size_t simulated_streams::space(const simulated_socket& socket) noexcept {
  const simulated_end& e = socket.end();
  const std::size_t all =
      e.send_buffer + (socket.connection->local ? 0 : socket.peer().receive_buffer);
  return all - std::min(all, e.unacknowledged);
}

void simulated_streams::attach(simulated_socket& socket,
                               std::shared_ptr<simulated_connection> connection,
                               unsigned side) noexcept {
  socket.connection = std::move(connection);
  socket.side = side;
  simulated_end& e = socket.end();
  e.socket = &socket;
  e.words = socket.words;
  e.send_buffer = socket.send_buffer;
  e.receive_buffer = socket.receive_buffer;
}

void simulated_streams::tell(const simulated_end& end) noexcept {
  if (end.socket != nullptr) context_.changed(*end.socket);
}

void simulated_streams::send(simulated_socket& from, kind what, std::string_view bytes,
                             std::size_t count) {
  wire_.send({from.connection, 1 - from.side, what, std::string(bytes), count});
}

int simulated_streams::take_error(simulated_socket& socket) noexcept {
  return socket.connection == nullptr ? 0 : std::exchange(socket.end().error, 0);
}

ssize_t simulated_streams::read(simulated_socket& socket, char* data, std::size_t size,
                                bool keeps) {
  if (socket.is == state::connecting) return -EAGAIN;
  if (socket.is != state::connected) return -ENOTCONN;
  simulated_end& e = socket.end();
  std::size_t count = std::min(size, e.received.size());
  if (count == 0 && size != 0) {
    // As in Linux: behind the end of a TCP stream, only writes report an error.
    if (e.ended_in && !socket.connection->local) return 0;
    if (const int error = take_error(socket); error != 0) return -error;
    return e.ended_in || e.shut_in || e.reset ? 0 : -EAGAIN;
  }
  if (count > 1 && context_.chance(context_.options().short_reads)) {
    count = 1 + context_.below(count - 1);
  }
  e.received.peek(data, count);
  if (keeps) return static_cast<ssize_t>(count);
  context_.note({e.words, " reads ", count, " of ", e.received.size(), " bytes"});
  e.received.drop(count);
  if (!e.reset) send(socket, kind::space, {}, count);
  return static_cast<ssize_t>(count);
}

ssize_t simulated_streams::write(simulated_socket& socket, std::string_view bytes) {
  if (socket.is == state::connecting) return -EAGAIN;
  if (socket.is != state::connected) return socket.family == AF_UNIX ? -ENOTCONN : -EPIPE;
  // As in Linux: a write to a Unix socket leaves the error of a reset to the next read.
  if (!socket.connection->local) {
    if (const int error = take_error(socket); error != 0) return -error;
  }
  simulated_end& e = socket.end();
  if (e.ended_out || e.reset || broken(socket)) return -EPIPE;
  std::size_t count = std::min(bytes.size(), space(socket));
  if (bytes.empty()) return 0;
  if (count == 0) return -EAGAIN;
  if (!socket.connection->local && context_.chance(context_.options().resets)) {
    cut(*socket.connection);
    return -take_error(socket);
  }
  if (count > 1 && context_.chance(context_.options().short_writes)) {
    count = 1 + context_.below(count - 1);
  }
  context_.note({e.words, " writes ", count, " of ", bytes.size(), " bytes"});
  e.unacknowledged += count;
  send(socket, kind::bytes, bytes.substr(0, count));
  return static_cast<ssize_t>(count);
}

int simulated_streams::shutdown(simulated_socket& socket, int how) {
  if (socket.is != state::connected || socket.end().reset) return -ENOTCONN;
  simulated_end& e = socket.end();
  context_.note({e.words, " ends ",
                 how == SHUT_RD   ? "reading"
                 : how == SHUT_WR ? "writing"
                                  : "both"});
  if (how != SHUT_WR) {
    e.shut_in = true;
    if (socket.connection->local) tell(socket.peer());  // the peer may have hung up
  }
  if (how != SHUT_RD && !std::exchange(e.ended_out, true)) send(socket, kind::end);
  tell(e);
  return 0;
}

void simulated_streams::close(simulated_socket& socket) {
  simulated_end& e = socket.end();
  wire_.clear_alarm(e);
  e.socket = nullptr;
  e.gone = true;
  if (e.reset) return;
  if (socket.is == state::connected && (socket.resets_on_close || e.received.size() != 0)) {
    e.reset = true;
    send(socket, kind::reset);
  } else if (socket.is == state::connected && !std::exchange(e.ended_out, true)) {
    send(socket, kind::end);
  }
  if (socket.connection->local) tell(socket.peer());
}

void simulated_streams::fail(simulated_end& end, int error) {
  if (end.gone || end.reset) return;
  context_.note(
      {end.words.empty() ? "a connection" : end.words, " fails: ", ::strerrorname_np(error)});
  wire_.clear_alarm(end);
  end.error = error;
  end.reset = true;
  tell(end);
}

void simulated_streams::cut(simulated_connection& connection) {
  for (simulated_end& end : connection.ends) fail(end, ECONNRESET);
}

void simulated_streams::arrive(const simulated_packet& packet) {
  simulated_connection& connection = *packet.connection;
  simulated_end& e = connection.ends[packet.to];
  simulated_end& sender = connection.ends[1 - packet.to];
  if (packet.what == kind::space) {
    e.unacknowledged -= std::min(e.unacknowledged, packet.count);
    return tell(e);
  }
  if (packet.what == kind::reset)
    return fail(e, e.ended_in && !connection.local ? EPIPE : ECONNRESET);
  if (e.gone && packet.what == kind::bytes && !sender.reset) {
    // As Linux, a closed socket answers bytes with a reset.
    return wire_.send({packet.connection, 1 - packet.to, kind::reset, {}, 0});
  }
  if (e.reset || e.gone) return;
  if (packet.what == kind::end) e.ended_in = true;
  if (packet.what == kind::bytes) e.received.add(packet.bytes);
  if (packet.what == kind::end) {
    context_.note({e.words.empty() ? "a connection" : e.words, " gets the end"});
  } else {
    context_.note(
        {e.words.empty() ? "a connection" : e.words, " gets ", packet.bytes.size(), " bytes"});
  }
  tell(e);
}

}  // namespace eddy::detail
