// SPDX-License-Identifier: BSD-2-Clause
// The same programs on the kernel and on a simulated network, whose results must be equal.
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/journal.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::as_result;
using eddy::connect;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::unix_address;
using eddy::unix_listener;
using eddy::unix_stream;

namespace {

/// The results that a program sees, in order.
struct record {
  eddy::event_loop& loop;
  journal& note;
  const std::string folder;

  void code(std::error_code error) const {
    note(error ? ::strerrorname_np(error.value()) : "none");
  }
};

/// Runs a program on the kernel and on a simulated network without delays.
void compare(task<> (*program)(record)) {
  const tidy no_descriptor;
  const temporary_directory d;
  journal real;
  journal simulated;
  {
    eddy::event_loop loop;
    eddy::block_on(loop, program({loop, real, d.path()}));
  }
  {
    eddy::event_loop loop;
    const eddy::simulated_network network(loop, {.shortest_delay = 0ms, .longest_delay = 0ms});
    eddy::block_on(loop, program({loop, simulated, d.path()}));
    CHECK(network.open_sockets() == 0);
  }
  CHECK(real.text() == simulated.text());
  CHECK_FALSE(real.text().empty());
}

template <class Stream>
task<> note_read(record r, Stream& from) {
  std::array<char, 100> buffer;
  const auto n = co_await as_result(from.read(buffer));
  r.note(n ? '"' + std::string(buffer.data(), *n) + '"' : ::strerrorname_np(n.error().value()));
}

template <class Stream>
task<> note_write(record r, Stream& to) {
  const auto sent = co_await as_result(to.write("more"sv));
  r.code(sent ? std::error_code() : sent.error());
}

/// Notes the result of a `try_` call.
void note_now(record r, const std::optional<eddy::result<std::size_t>>& found) {
  if (!found) return r.note("nothing");
  if (!*found) return r.code(found->error());
  r.note(**found);
}

/// Writes until nothing more fits into the buffers.
void fill(unix_stream& stream) {
  const std::string words(10'000, 'f');
  while (const auto sent = stream.try_write(words)) REQUIRE(*sent);
}

/// Gives an event that must not happen yet the time to happen.
task<> a_moment() { co_await eddy::sleep(1ms); }

struct tcp_pair {
  tcp_stream client;
  tcp_stream server;
};

task<tcp_pair> make_pair(record r) {
  tcp_listener listener(r.loop, address::loopback_v4(0));
  tcp_pair ends;
  ends.client = co_await connect(listener.local_address());
  ends.server = co_await listener.accept();
  co_return ends;
}

/// Waits until the peer's end or reset has arrived.
template <class Stream>
task<> wait_for_end(Stream& s) {
  const auto ready = co_await as_result(s.wait_readable());
  CHECK(ready);
}

/// Fills the queues of listeners at `name`, and notes how one more connect ends.
template <class Listener, class Stream, class Name>
task<> note_queues(record r, Name name) {
  for (const int backlog : {0, 1, 3, -1}) {
    const Listener listener(r.loop, name, {.backlog = backlog});
    const Name to = listener.local_address();
    std::vector<Stream> taken;
    const std::size_t all = backlog < 0 ? 10 : static_cast<std::size_t>(backlog) + 1;
    while (taken.size() < all) {
      auto next = co_await connect(to);
      taken.push_back(std::move(next));
    }
    if (backlog < 0) continue;
    auto limited = eddy::timeout(5ms, connect(to));
    const auto more = co_await as_result(std::move(limited));
    r.code(more ? std::error_code() : more.error());
  }
}

}  // namespace

TEST_CASE("a refused connect gives the same errors as the kernel") {
  compare([](record r) -> task<> {
    address nobody;
    {
      const tcp_listener listener(r.loop, address::loopback_v4(0));
      nobody = listener.local_address();
    }
    const auto made = co_await as_result(connect(nobody));
    r.code(made.error());
    const auto v6 = co_await as_result(connect(address::loopback_v6(nobody.port())));
    r.code(v6.error());
  });
}

TEST_CASE("a connect to an address of no single host fails as in the kernel") {
  compare([](record r) -> task<> {
    for (const std::string_view to :
         {"224.0.0.1"sv, "239.255.255.255"sv, "255.255.255.255"sv, "127.255.255.255"sv,
          "[ff02::1]"sv, "[ff0e::1]"sv, "[fe80::1]"sv, "[febf::1]"sv, "[::ffff:224.0.0.1]"sv,
          "[::ffff:255.255.255.255]"sv}) {
      const address at = address::parse(std::string(to) + ":80").value();
      const auto made = co_await as_result(connect(at));
      r.note(to);
      r.code(made ? std::error_code() : made.error());
    }
  });
}

TEST_CASE("a TCP listener at an address of no single host fails as in the kernel") {
  compare([](record r) -> task<> {
    for (const std::string_view host : {"[ff02::1]"sv, "[ff0e::1]"sv, "[fe80::1]"sv}) {
      const address at = address::parse(std::string(host) + ":0").value();
      r.code(code_from([&] { const tcp_listener l(r.loop, at); }));
    }
    co_return;
  });
}

TEST_CASE("a half-close, and writes after it, give the same results as the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    co_await ends.client.write("words"sv);
    ends.client.shutdown();
    co_await note_read(r, ends.server);
    co_await note_read(r, ends.server);
    co_await note_read(r, ends.server);
    co_await note_write(r, ends.client);
    co_await note_write(r, ends.server);
    co_await note_read(r, ends.client);
    ends.server.close();
    co_await note_read(r, ends.client);
    r.code(ends.client.take_error());
  });
}

TEST_CASE("a reset gives the same errors as the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    ends.server.set_linger(0s);
    ends.server.close();
    co_await wait_for_end(ends.client);
    co_await note_read(r, ends.client);
    co_await note_read(r, ends.client);
    co_await note_write(r, ends.client);
    co_await note_write(r, ends.client);
    r.code(code_from([&] { static_cast<void>(ends.client.local_address()); }));
  });
}

TEST_CASE("a write is the first to meet a reset, as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    ends.server.set_linger(0s);
    ends.server.close();
    co_await wait_for_end(ends.client);
    co_await note_write(r, ends.client);
    co_await note_write(r, ends.client);
    co_await note_read(r, ends.client);
  });
}

TEST_CASE("SO_ERROR takes the error of a reset, as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    ends.server.set_linger(0s);
    ends.server.close();
    co_await wait_for_end(ends.client);
    r.code(ends.client.take_error());
    r.code(ends.client.take_error());
    co_await note_read(r, ends.client);
    co_await note_write(r, ends.client);
  });
}

TEST_CASE("bytes that arrived before a reset are as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    co_await ends.server.write("before"sv);
    ends.server.set_linger(0s);
    ends.server.close();
    co_await wait_for_end(ends.client);
    co_await note_read(r, ends.client);
    co_await note_read(r, ends.client);
    co_await note_read(r, ends.client);
  });
}

TEST_CASE("a close with unread bytes is as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    co_await ends.server.write("answer"sv);
    co_await ends.client.write("unread"sv);
    co_await wait_for_end(ends.server);
    ends.server.close();
    co_await wait_for_end(ends.client);
    co_await note_read(r, ends.client);
    co_await note_read(r, ends.client);
    co_await note_write(r, ends.client);
  });
}

TEST_CASE("writes to a closed peer are as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    ends.server.close();
    co_await wait_for_end(ends.client);
    co_await note_write(r, ends.client);
    std::error_code error;
    while (!error) {  // the kernel may take a moment for the answer to the first one
      const auto sent = co_await as_result(ends.client.write("more"sv));
      if (!sent) error = sent.error();
    }
    r.code(error);
    co_await note_read(r, ends.client);
    co_await note_read(r, ends.client);
    r.code(ends.client.take_error());
  });
}

TEST_CASE("a connection that is reset before it is accepted is as in the kernel") {
  compare([](record r) -> task<> {
    tcp_listener listener(r.loop, address::loopback_v4(0));
    {
      tcp_stream client = co_await connect(listener.local_address());
      co_await client.write("words"sv);
      client.set_linger(0s);
    }
    tcp_stream server = co_await listener.accept();
    r.note(server.peer_address().host());
    co_await note_read(r, server);
    co_await note_read(r, server);
    co_await note_write(r, server);
  });
}

TEST_CASE("a listener that closes resets its queue as the kernel does") {
  compare([](record r) -> task<> {
    tcp_listener listener(r.loop, address::loopback_v4(0));
    tcp_stream client = co_await connect(listener.local_address());
    listener.close();
    co_await wait_for_end(client);
    co_await note_read(r, client);
    co_await note_write(r, client);
  });
}

TEST_CASE("a listener's queue takes as many connections as in the kernel") {
  compare([](record r) {
    return note_queues<tcp_listener, tcp_stream>(std::move(r), address::loopback_v4(0));
  });
}

TEST_CASE("a Unix listener's queue takes as many connections as in the kernel") {
  compare([](record r) {
    return note_queues<unix_listener, unix_stream>(std::move(r), unix_address());
  });
}

TEST_CASE("addresses are in use as in the kernel") {
  compare([](record r) -> task<> {
    const auto listen = [&](const address& at, const eddy::socket_options& how = {}) {
      r.code(code_from([&] { const tcp_listener l(r.loop, at, how); }));
    };
    {
      const tcp_listener first(r.loop, address::loopback_v4(0));
      const std::uint16_t port = first.local_address().port();
      listen(address::loopback_v4(port));
      listen(address::any_v4(port));
      listen(address::any_v6(port));
      listen(address::any_v6(port), {.ipv6_only = true});
      listen(address::loopback_v6(port));
      listen(address::loopback_v4(port), {.reuse_port = true});
      listen(address(address::v4_bytes{127, 0, 0, 2}, port));
    }
    const tcp_listener shared(r.loop, address::any_v6(0), {.reuse_port = true});
    const std::uint16_t port = shared.local_address().port();
    listen(address::any_v6(port), {.reuse_port = true});
    listen(address::any_v4(port), {.reuse_port = true});
    listen(address::any_v4(port));
    co_return;
  });
}

TEST_CASE("the address of a live connection is in use as in the kernel") {
  compare([](record r) -> task<> {
    tcp_listener listener(r.loop, address::loopback_v4(0));
    const address to = listener.local_address();
    const tcp_stream chosen = co_await connect(to);
    const address own = chosen.local_address();
    for (const bool reuse : {false, true}) {
      for (const address& at : {own, address::any_v4(own.port()), address::any_v6(own.port())}) {
        r.code(code_from([&] { const tcp_listener l(r.loop, at, {.reuse_address = reuse}); }));
      }
      const std::uint8_t host = reuse ? 2 : 3;
      const address elsewhere(address::v4_bytes{127, 0, 0, host}, own.port());
      for (const address& at : {own, elsewhere}) {
        const auto again = co_await as_result(connect(to, {.reuse_address = reuse, .local = at}));
        r.code(again ? std::error_code() : again.error());
      }
    }
  });
}

TEST_CASE("two connections from one address to one peer are refused as in the kernel") {
  compare([](record r) -> task<> {
    for (const bool by_port : {false, true}) {
      tcp_listener listener(r.loop, address::loopback_v4(0));
      tcp_listener other(r.loop, address::loopback_v4(0));
      eddy::socket_options how{.reuse_address = !by_port, .reuse_port = by_port};
      how.local = tcp_listener(r.loop, address::loopback_v4(0)).local_address();
      const tcp_stream first = co_await connect(listener.local_address(), how);
      const auto second = co_await as_result(connect(listener.local_address(), how));
      r.code(second ? std::error_code() : second.error());
      const auto elsewhere = co_await as_result(connect(other.local_address(), how));
      r.code(elsewhere ? std::error_code() : elsewhere.error());
    }
  });
}

TEST_CASE("the names of sockets are as in the kernel") {
  compare([](record r) -> task<> {
    tcp_listener listener(r.loop, address::any_v6(0));
    const std::uint16_t port = listener.local_address().port();
    r.note(listener.local_address().host());
    for (const address& to :
         {address::loopback_v4(port), address::loopback_v6(port), address::any_v4(port),
          address(address::v4_bytes{127, 0, 0, 9}, port)}) {
      const tcp_stream client = co_await connect(to);
      const tcp_stream server = co_await listener.accept();
      for (const address& a : {client.local_address(), client.peer_address(),
                               server.local_address(), server.peer_address()}) {
        r.note(a.host());
      }
      r.note(client.local_address().port() == server.peer_address().port() ? "same" : "other");
    }
  });
}

TEST_CASE("options of a connection are as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    r.note(ends.client.no_delay() ? "on" : "off");
    r.note(ends.client.keep_alive() ? "on" : "off");
    ends.client.set_no_delay(true);
    ends.client.set_send_buffer(10'000);
    r.note(ends.client.no_delay() ? "on" : "off");
    r.note(ends.client.send_buffer());
    ends.client.set_receive_buffer(10'000);
    r.note(ends.client.receive_buffer());
    r.note(ends.client.get(eddy::option::reuse_address) ? "on" : "off");
    ends.client.set(eddy::option::user_timeout, 1500ms);
    r.note(ends.client.get(eddy::option::user_timeout).count());
  });
}

TEST_CASE("keep-alive times that the kernel refuses are refused") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    const auto note_set = [&](std::chrono::seconds idle, std::chrono::seconds interval,
                              int probes) {
      const tcp_stream::keep_alive_times times{idle, interval, probes};
      r.code(code_from([&] { ends.client.set_keep_alive(times); }));
      r.note(ends.client.keep_alive() ? "on" : "off");
    };
    note_set(0s, 75s, 9);
    note_set(7200s, -1s, 9);
    note_set(7200s, 75s, 0);
    note_set(7200s, 75s, 128);
    note_set(1s, 1s, 1);
    note_set(100'000s, 100'000s, 127);
    note_set(0s, 75s, 9);
  });
}

TEST_CASE("the limits of buffer sizes are as in the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    auto [near, far] = eddy::socket_pair(r.loop);
    const auto note_sizes = [&](auto& stream) {
      for (const std::size_t size : {std::size_t{0}, std::size_t{2000}}) {
        stream.set_send_buffer(size);
        r.note(stream.send_buffer());
        stream.set_receive_buffer(size);
        r.note(stream.receive_buffer());
      }
      stream.set_send_buffer(SIZE_MAX);  // the most that the machine allows
      stream.set_receive_buffer(SIZE_MAX);
      r.note(stream.send_buffer() <= INT_MAX ? "fits" : "overflows");
      r.note(stream.receive_buffer() <= INT_MAX ? "fits" : "overflows");
    };
    note_sizes(ends.client);
    note_sizes(near);
  });
}

TEST_CASE("an accepted connection inherits options of its listener as in the kernel") {
  compare([](record r) -> task<> {
    for (const bool on : {false, true}) {
      const eddy::socket_options how{
          .reuse_address = on, .reuse_port = on, .ipv6_only = on, .freebind = on};
      tcp_listener listener(r.loop, address::loopback_v6(0), how);
      const tcp_stream client = co_await connect(listener.local_address());
      tcp_stream server = co_await listener.accept();
      for (const auto* const which : {&eddy::option::reuse_address, &eddy::option::reuse_port,
                                      &eddy::option::ipv6_only, &eddy::option::freebind}) {
        r.note(server.get(*which) ? "on" : "off");
      }
      r.code(code_from([&] { server.set(eddy::option::ipv6_only, on); }));
    }
  });
}

TEST_CASE("an option of IPv6 is refused as by the kernel") {
  compare([](record r) -> task<> {
    tcp_pair ends = co_await make_pair(r);
    tcp_listener v6(r.loop, address::loopback_v6(0));
    const auto note_option = [&](auto& socket) {
      r.code(code_from([&] { static_cast<void>(socket.get(eddy::option::ipv6_only)); }));
      r.code(code_from([&] { socket.set(eddy::option::ipv6_only, true); }));
    };
    note_option(ends.client);  // of IPv4
    note_option(v6);           // is bound
  });
}

TEST_CASE("a connect of Unix sockets gives the same errors as the kernel") {
  compare([](record r) -> task<> {
    const unix_address path(r.folder + "/socket");
    const auto missing = co_await as_result(connect(path));
    r.code(missing.error());
    const auto nobody = co_await as_result(connect(unix_address::abstract("eddy nobody")));
    r.code(nobody.error());
    {
      unix_listener listener(r.loop, path);
      listener.keep_file();
      r.code(code_from([&] { const unix_listener l(r.loop, path); }));
      r.code(code_from([&] { const unix_listener l(r.loop, path, {.replace_stale = true}); }));
      const auto other = co_await as_result(eddy::connect_seqpacket(path));
      r.note(other ? "connected" : "not");
    }
    const auto stale = co_await as_result(connect(path));
    r.code(stale.error());
    r.code(code_from([&] { const unix_listener l(r.loop, path); }));
    r.code(code_from([&] { const unix_listener l(r.loop, path, {.replace_stale = true}); }));
    const auto gone = co_await as_result(connect(path));
    r.code(gone.error());
  });
}

TEST_CASE("a Unix stream ends as in the kernel") {
  compare([](record r) -> task<> {
    auto [near, far] = eddy::socket_pair(r.loop);
    co_await near.write("unread"sv);
    far.close();
    co_await note_read(r, near);
    co_await note_read(r, near);
    co_await note_write(r, near);
    auto [a, b] = eddy::socket_pair(r.loop);
    co_await b.write("words"sv);
    b.shutdown();
    co_await note_read(r, a);
    co_await note_read(r, a);
    co_await note_write(r, a);
    co_await note_write(r, b);
    b.shutdown_read();
    co_await note_write(r, a);
    co_await note_read(r, b);
    a.close();
    co_await note_read(r, b);
  });
}

TEST_CASE("a write to a Unix peer that closed with unread bytes is as in the kernel") {
  compare([](record r) -> task<> {
    auto [near, far] = eddy::socket_pair(r.loop);
    co_await near.write("unread"sv);
    far.close();
    co_await note_write(r, near);
    co_await note_write(r, near);
    co_await note_read(r, near);
    co_await note_read(r, near);
    auto [one, other] = eddy::socket_pair(r.loop);
    co_await one.write("unread"sv);
    other.close();
    note_now(r, one.try_write("more"sv));
    std::array<char, 10> buffer;
    note_now(r, one.try_read(buffer));
    note_now(r, one.try_read(buffer));
    auto [a, b] = eddy::socket_pair(r.loop);
    co_await a.write("unread"sv);
    b.close();
    co_await note_write(r, a);
    r.code(a.take_error());
    co_await note_read(r, a);
    const unix_address name = unix_address::abstract("eddy unaccepted");
    unix_listener listener(r.loop, name);
    unix_stream client = co_await connect(name);
    listener.close();
    co_await note_write(r, client);
    co_await note_read(r, client);
  });
}

TEST_CASE("a Unix write that waits when its peer ends reading waits on, as in the kernel") {
  compare([](record r) -> task<> {
    auto [near, far] = eddy::socket_pair(r.loop);
    fill(near);
    std::string result = "waits";
    near.write("more"sv, [&](const eddy::result<void>& sent) {
      result = sent ? "sent" : ::strerrorname_np(sent.error().value());
    });
    co_await a_moment();
    far.shutdown_read();
    co_await a_moment();
    CHECK(result == "waits");
    std::array<char, 10'000> buffer;
    while (result == "waits") {  // takes the bytes that have arrived
      const auto n = co_await as_result(far.read(buffer));
      if (!n || *n == 0) break;
    }
    co_await a_moment();
    r.note(result);
  });
}

TEST_CASE("a full Unix stream is writable again as in the kernel") {
  compare([](record r) -> task<> {
    const auto note_writable = [&](unix_stream& s) -> task<> {
      auto limited = eddy::timeout(1ms, s.wait_writable());
      const auto ready = co_await as_result(std::move(limited));
      r.code(ready ? std::error_code() : ready.error());
      note_now(r, s.try_write("more"sv));
    };
    auto [near, far] = eddy::socket_pair(r.loop);
    fill(near);
    co_await note_writable(near);
    far.shutdown_read();
    co_await note_writable(near);
    far.shutdown();
    co_await note_writable(near);
    auto [a, b] = eddy::socket_pair(r.loop);
    fill(a);
    a.shutdown();
    co_await note_writable(a);
    a.shutdown_read();
    co_await note_writable(a);
    auto [one, other] = eddy::socket_pair(r.loop);
    fill(one);
    other.close();
    co_await note_writable(one);
  });
}

TEST_CASE("a Unix listener that closes resets its queue as the kernel does") {
  compare([](record r) -> task<> {
    const unix_address name = unix_address::abstract("eddy queue");
    unix_listener listener(r.loop, name);
    unix_stream client = co_await connect(name);
    co_await client.write("words"sv);
    listener.close();
    co_await note_read(r, client);
    co_await note_read(r, client);
    co_await note_write(r, client);
  });
}

TEST_CASE("the names of Unix sockets are as in the kernel") {
  compare([](record r) -> task<> {
    const unix_address name(r.folder + "/server");
    unix_listener listener(r.loop, name);
    const unix_stream client = co_await connect(name);
    const unix_stream server = co_await listener.accept();
    for (const unix_address& a : {client.local_address(), client.peer_address(),
                                  server.local_address(), server.peer_address()}) {
      r.note(a.to_string());
    }
    r.note(client.peer_credentials().uid);
  });
}
