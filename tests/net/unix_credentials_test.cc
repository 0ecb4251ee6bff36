// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_credentials.h>.
#include <eddy/net/unix_credentials.h>

#include <span>
#include <utility>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/net/unix_address.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/forked.h"
#include "support/tidy.h"

using eddy::unix_address;
using eddy::unix_credentials;
using eddy::unix_listener;
using eddy::unix_stream;

namespace {

constexpr unsigned nobody = 65534;

/// Connects a blocking socket to an address, without eddy. Negative if that fails.
int plain_connection_to(const unix_address& to) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&name), size) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

/// Accepts the next connection, for which it waits up to 10 s.
unix_stream next_of(unix_listener& listener) {
  pollfd waiting{.fd = listener.descriptor(), .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, 10'000);
  auto accepted = listener.try_accept();
  REQUIRE(accepted.has_value());
  return std::move(accepted->value());
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "the peer of each end of a pair is the process that made the pair") {
  unix_credentials own;
  own.pid = ::getpid();
  own.uid = ::geteuid();
  own.gid = ::getegid();
  auto streams = eddy::socket_pair(loop);
  auto packets = eddy::seqpacket_pair(loop);
  CHECK(streams.first.peer_credentials() == own);
  CHECK(streams.second.peer_credentials() == own);
  CHECK(packets.first.peer_credentials() == own);
  CHECK(packets.second.peer_credentials() == own);
}

TEST_CASE_FIXTURE(with_loop, "a peer that connects is the connecting process, also once it ended") {
  unix_listener listener(loop, unix_address());
  const unix_address at = listener.local_address();
  const pid_t child = start_forked([&] {
    const int over = plain_connection_to(at);
    char end = 0;
    return over >= 0 && ::read(over, &end, 1) == 0;  // until the parent closes the connection
  });
  unix_stream peer = next_of(listener);
  const unix_credentials alive = peer.peer_credentials();
  CHECK(alive.pid == child);
  CHECK(alive.uid == ::geteuid());
  CHECK(alive.gid == ::getegid());
  peer.shutdown();
  CHECK(end_of(child) == 0);
  CHECK(peer.peer_credentials() == alive);
}

TEST_CASE_FIXTURE(with_loop, "the user of a peer is the user at the time of the connect") {
  if (::geteuid() != 0) return;  // only root can become another user
  unix_listener listener(loop, unix_address());
  const unix_address at = listener.local_address();
  const pid_t child = start_forked([&] {
    if (::setegid(nobody) != 0 || ::seteuid(nobody) != 0) return false;
    const int over = plain_connection_to(at);
    char end = 0;
    // It is root again before the parent asks.
    return over >= 0 && ::seteuid(0) == 0 && ::setegid(0) == 0 && ::write(over, "x", 1) == 1 &&
           ::read(over, &end, 1) == 0;
  });
  unix_stream peer = next_of(listener);
  pollfd said{.fd = peer.descriptor(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&said, 1, 10'000) == 1);
  const unix_credentials who = peer.peer_credentials();
  CHECK(who.pid == child);
  CHECK(who.uid == nobody);
  CHECK(who.gid == nobody);
  peer.shutdown();
  CHECK(end_of(child) == 0);
}

TEST_CASE_FIXTURE(with_loop, "a process that inherits a socket is not told apart from its maker") {
  auto [near, far] = eddy::socket_pair(loop);
  const int inherited = far.descriptor();
  const pid_t child = start_forked([&] { return ::write(inherited, "x", 1) == 1; });
  CHECK(end_of(child) == 0);
  char byte = 0;
  CHECK(near.try_read(std::span(&byte, 1))->value() == 1);
  CHECK(near.peer_credentials().pid == ::getpid());
}

TEST_CASE_FIXTURE(with_loop, "credentials that differ in one member are not equal") {
  auto [near, far] = eddy::socket_pair(loop);
  const unix_credentials one = near.peer_credentials();
  for (const auto change :
       {+[](unix_credentials& c) { ++c.pid; }, +[](unix_credentials& c) { ++c.uid; },
        +[](unix_credentials& c) { ++c.gid; }}) {
    unix_credentials other = one;
    change(other);
    CHECK(other != one);
  }
}
