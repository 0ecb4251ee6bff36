// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/tls/tls_stream.h
#include <eddy/net/tls/tls_stream.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/copy.h>
#include <eddy/net/duplex.h>
#include <eddy/net/limited.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using namespace std::string_literals;
using eddy::as_result;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::join;
using eddy::task;
using eddy::tls_accept;
using eddy::tls_connect;
using eddy::tls_error;
using eddy::tls_stream;

static_assert(eddy::byte_stream<tls_stream<eddy::tcp_stream>>);
static_assert(eddy::byte_stream<memory_tls>);
static_assert(eddy::byte_stream<tls_stream<eddy::any_stream>>);
static_assert(eddy::byte_stream<tls_stream<memory_tls>>);
static_assert(!std::is_copy_constructible_v<memory_tls>);
static_assert(!std::is_aggregate_v<eddy::tls_client_options>);
static_assert(!std::is_aggregate_v<eddy::tls_server_options>);
static_assert(!std::is_aggregate_v<eddy::detail::tls_read_wait>);

namespace {

template <class Stream>
task<std::string> some_of(Stream& from) {
  std::array<char, 20000> buffer;
  const std::size_t n = co_await from.read(buffer);
  co_return std::string(buffer.data(), n);
}

template <class Stream>
task<std::string> all_of(Stream& from) {
  std::string all;
  for (;;) {
    const std::string some = co_await some_of(from);
    if (some.empty()) co_return all;
    all += some;
  }
}

template <class Stream>
task<std::error_code> read_error(Stream& from) {
  std::array<char, 8> buffer;
  const auto r = co_await as_result(from.read(buffer));
  co_return r ? std::error_code() : r.error();
}

template <class Stream>
task<std::error_code> write_error(Stream& to, std::string bytes) {
  const auto r = co_await as_result(to.write(bytes));
  co_return r ? std::error_code() : r.error();
}

template <class Stream>
task<> write(Stream& to, std::string bytes) {
  co_await to.write(bytes);
}

template <class Stream>
task<> write_and_end(Stream& to, std::string bytes) {
  co_await to.write(bytes);
  co_await to.shutdown();
}

std::string random_bytes(std::size_t size) {
  std::mt19937 numbers(7);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(numbers());
  return bytes;
}

}  // namespace

ASYNC_TEST("the bytes that one end of a TLS connection writes are read at the other end") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  co_await ends.client.write(std::string_view("question"));
  const std::string question = co_await some_of(ends.server);
  CHECK(question == "question");
  co_await ends.server.write(std::string_view("answer"));
  const std::string answer = co_await some_of(ends.client);
  CHECK(answer == "answer");
  CHECK(ends.client.version() == eddy::tls_version::tls1_3);
  CHECK(ends.server.version() == eddy::tls_version::tls1_3);
  CHECK(ends.client.cipher() == ends.server.cipher());
  CHECK(ends.client.cipher().starts_with("TLS_"));
  CHECK(ends.client.alpn().empty());
  CHECK(ends.server.server_name() == "localhost");
  CHECK_FALSE(ends.client.resumed());
}

ASYNC_TEST("a megabyte passes through buffers of one byte and of 64 KiB, in both directions") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{65536}}) {
    CAPTURE(size);
    const tls_contexts by;
    tls_ends ends = co_await connected(by, size);
    const std::string bytes = random_bytes(size == 1 ? 50'000 : 1'000'000);
    auto all = join(write_and_end(ends.client, bytes), write_and_end(ends.server, bytes),
                    all_of(ends.client), all_of(ends.server));
    const auto [a, b, at_client, at_server] = co_await std::move(all);
    CHECK(at_client == bytes);
    CHECK(at_server == bytes);
  }
}

ASYNC_TEST("TLS runs over TCP, an any_stream, a limited, a buffered and a TLS stream") {
  const tls_contexts by;
  const auto check = [&by](auto near, auto far) -> task<> {
    auto both = join(tls_connect(by.client, std::move(near), "localhost"),
                     tls_accept(by.server, std::move(far)));
    auto [client, server] = co_await std::move(both);
    auto talk = join(write_and_end(client, "ping"), all_of(server), write_and_end(server, "pong"),
                     all_of(client));
    const auto [a, ping, b, pong] = co_await std::move(talk);
    CHECK(ping == "ping");
    CHECK(pong == "pong");
  };
  stream_pair tcp(loop);
  co_await check(std::move(tcp.near), std::move(tcp.far));
  auto [a, b] = duplex(100, 100);
  co_await check(eddy::any_stream(std::move(a)), eddy::any_stream(std::move(b)));
  auto [c, d] = duplex(100, 100);
  co_await check(eddy::limited(std::move(c), 100'000, 1000), std::move(d));
  auto [e, f] = duplex(100, 100);
  co_await check(eddy::buffered(std::move(e)), eddy::buffered(std::move(f)));
  tls_ends ends = co_await connected(by);
  co_await check(std::move(ends.client), std::move(ends.server));
}

ASYNC_TEST("after the stream below a TLS stream was closed, its operations are cancelled") {
  const tls_contexts by;
  const auto check = [&by](auto near, auto far) -> task<> {
    auto both = join(tls_connect(by.client, std::move(near), "localhost"),
                     tls_accept(by.server, std::move(far)));
    auto [client, server] = co_await std::move(both);
    client.stream().close();
    const std::error_code reads = co_await read_error(client);
    CHECK(reads == std::errc::operation_canceled);
    const std::error_code writes = co_await write_error(client, "late");
    CHECK(writes == std::errc::operation_canceled);
    const auto ended = co_await as_result(client.shutdown());
    CHECK(ended.error() == std::errc::operation_canceled);
  };
  stream_pair tcp(loop);
  co_await check(std::move(tcp.near), std::move(tcp.far));
  auto [a, b] = duplex(100, 100);
  co_await check(std::move(a), std::move(b));
}

ASYNC_TEST(
    "a peer that takes less than a record within an idle limit keeps a copy over TLS alive") {
  const tls_contexts by;
  auto [near, far] = duplex(500, 65536);
  eddy::limited_stream slow = eddy::limited(std::move(far), 500, 5000);
  auto both = join(tls_accept(by.server, std::move(near)),
                   tls_connect(by.client, std::move(slow), "localhost"));
  auto [server, client] = co_await std::move(both);
  auto [source, from] = duplex(100'000, 100);
  CHECK(source.try_write(std::string(40'000, 's')).has_value());
  source.shutdown();
  const auto relay = [](duplex_stream& a, memory_tls& b) -> task<std::uint64_t> {
    eddy::copy_options options;
    options.idle_limit = 30s;
    auto copying = eddy::copy(a, b, std::move(options));
    const std::uint64_t n = co_await std::move(copying);
    co_await b.shutdown();
    co_return n;
  };
  auto all = join(relay(from, server), read_all(client));
  const auto [count, got] = co_await std::move(all);
  CHECK(count == 40'000);
  CHECK(got.size() == 40'000);
}

ASYNC_TEST("a buffered TLS stream reads lines") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  eddy::buffered lines(std::move(ends.client));
  auto sending = join(write_and_end(ends.server, "one\ntwo\n"));
  co_await std::move(sending);
  for (const std::string_view expected : {"one", "two"}) {
    const auto line = co_await lines.read_line(100);
    CHECK(line == expected);
  }
  const auto end = co_await lines.read_line(100);
  CHECK_FALSE(end);
}

ASYNC_TEST("the buffers of a list arrive in order, and small ones share a record") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  const std::string large = random_bytes(40'000);
  std::vector<eddy::const_buffer> list;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    list.emplace_back(std::string_view("small "));
    list.emplace_back();
    expected += "small ";
  }
  list.emplace_back(large);
  list.emplace_back(std::string_view(" end"));
  expected += large + " end";
  const auto send = [&list](memory_tls& to) -> task<> {
    co_await to.write(std::span<const eddy::const_buffer>(list));
    co_await to.write(std::span<const eddy::const_buffer>());
    co_await to.write(eddy::const_buffer());
    co_await to.shutdown();
  };
  auto both = join(send(ends.client), all_of(ends.server));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all == expected);

  tls_ends others = co_await connected(by);
  co_await others.client.write(std::span(list).first(200));
  const std::size_t on_the_way = others.server.stream().unread();
  CHECK(on_the_way < 100 * 6 + 50);
}

ASYNC_TEST("a close_notify is an end, and a stream that is cut off is an error") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  co_await ends.client.write(std::string_view("last"));
  co_await ends.client.shutdown();
  const std::string last = co_await some_of(ends.server);
  CHECK(last == "last");
  for (int i = 0; i < 2; ++i) {
    const std::string end = co_await some_of(ends.server);
    CHECK(end.empty());
  }
  co_await ends.server.write(std::string_view("after the end"));
  const std::string after = co_await some_of(ends.client);
  CHECK(after == "after the end");
  ends.server.close();
  std::string words;
  try {
    co_await some_of(ends.client);
  } catch (const std::system_error& e) {
    CHECK(e.code() == tls_error::truncated);
    words = e.what();
  }
  CHECK(words == "read from localhost: the connection was cut off without a close_notify");
}

ASYNC_TEST("a connection that is cut off in the middle of a record is truncated") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  co_await ends.server.stream().write("\x17\x03\x03\x00\x50half"s);
  ends.server.close();
  const std::error_code error = co_await read_error(ends.client);
  CHECK(error == tls_error::truncated);
}

ASYNC_TEST("a write after the shutdown of a TLS stream fails, and reading goes on") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  auto big =
      join(write(ends.client, random_bytes(300'000)), ends.client.shutdown(), all_of(ends.server));
  const auto [a, b, all] = co_await std::move(big);
  CHECK(all == random_bytes(300'000));
  const std::error_code late = co_await write_error(ends.client, "late");
  CHECK(late == std::errc::broken_pipe);
  co_await ends.client.shutdown();  // again, which does nothing
  co_await ends.server.write(std::string_view("answer"));
  const std::string answer = co_await some_of(ends.client);
  CHECK(answer == "answer");
}

ASYNC_TEST("a cancelled read of a TLS stream loses no bytes") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by, 7);
  const std::string bytes = random_bytes(5000);
  const auto read_with_limits = [](memory_tls& from) -> task<std::string> {
    std::string all;
    int cancelled = 0;
    for (;;) {
      auto some = eddy::timeout(1ms, some_of(from));
      const auto got = co_await as_result(std::move(some));
      if (!got) {
        ++cancelled;
        continue;
      }
      if (got->empty()) break;
      all += *got;
    }
    CHECK(cancelled > 0);
    co_return all;
  };
  const auto send_slowly = [&bytes](memory_tls& to) -> task<> {
    for (std::size_t i = 0; i < bytes.size(); i += 100) {
      co_await to.write(std::string_view(bytes).substr(i, 100));
      co_await eddy::sleep(5ms);
    }
    co_await to.shutdown();
  };
  auto both = join(read_with_limits(ends.server), send_slowly(ends.client));
  const auto [all, nothing] = co_await std::move(both);
  CHECK(all == bytes);
}

namespace {

using tcp_tls = tls_stream<eddy::tcp_stream>;

/// Two ends over TCP, whose kernel buffers are small.
task<std::pair<tcp_tls, tcp_tls>> connected_over_tcp(eddy::event_loop& loop,
                                                     const tls_contexts& by) {
  stream_pair tcp(loop);
  for (eddy::tcp_stream* const one : {&tcp.near, &tcp.far}) {
    one->set_send_buffer(16384);
    one->set_receive_buffer(65536);
  }
  auto both = join(tls_connect(by.client, std::move(tcp.near), "localhost"),
                   tls_accept(by.server, std::move(tcp.far)));
  auto [client, server] = co_await std::move(both);
  co_return std::pair(std::move(client), std::move(server));
}

}  // namespace

ASYNC_TEST("over TCP with full buffers, megabytes pass in both directions at a time") {
  const tls_contexts by;
  auto [client, server] = co_await connected_over_tcp(loop, by);
  const std::string bytes = random_bytes(2'000'000);
  auto all = join(write_and_end(client, bytes), write_and_end(server, bytes), all_of(client),
                  all_of(server));
  const auto [a, b, at_client, at_server] = co_await std::move(all);
  CHECK(at_client == bytes);
  CHECK(at_server == bytes);
}

ASYNC_TEST("over TCP, a cancelled read loses no bytes") {
  const tls_contexts by;
  auto [client, server] = co_await connected_over_tcp(loop, by);
  const std::string bytes = random_bytes(20'000);
  const auto read_in_races = [](tcp_tls& from) -> task<std::string> {
    std::string all;
    for (int i = 0;; ++i) {
      std::string some;
      if (i % 2 == 0) {
        auto race = eddy::timeout(0s, some_of(from));
        const auto got = co_await as_result(std::move(race));
        if (!got) continue;
        some = *got;
      } else {
        some = co_await some_of(from);
      }
      if (some.empty()) co_return all;
      all += some;
    }
  };
  const auto send = [&bytes](tcp_tls& to) -> task<> {
    for (std::size_t i = 0; i < bytes.size(); i += 500) {
      co_await to.write(std::string_view(bytes).substr(i, 500));
      co_await eddy::sleep(1ms);
    }
    co_await to.shutdown();
  };
  auto both = join(read_in_races(server), send(client));
  const auto [all, nothing] = co_await std::move(both);
  CHECK(all == bytes);
}

ASYNC_TEST("over TCP, an end without a close_notify and a reset are told apart") {
  const tls_contexts by;
  auto [client, server] = co_await connected_over_tcp(loop, by);
  server.stream().shutdown();
  for (int i = 0; i < 2; ++i) {
    const std::error_code cut = co_await read_error(client);
    CHECK(cut == tls_error::truncated);
  }
  co_await client.write(std::string_view("still"));
  const std::string still = co_await some_of(server);
  CHECK(still == "still");

  auto [one, other] = co_await connected_over_tcp(loop, by);
  other.stream().set_linger(0s);
  other.close();
  std::string words;
  try {
    co_await some_of(one);
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::connection_reset);
    words = e.what();
  }
  CHECK(words == "read from localhost: Connection reset by peer");
  const std::error_code late = co_await write_error(one, "late");
  CHECK(late == std::errc::broken_pipe);
}

ASYNC_TEST("over TCP, closing resumes a reader and a writer, and a cancelled write is the last") {
  const tls_contexts by;
  auto [client, server] = co_await connected_over_tcp(loop, by);
  auto limited = eddy::timeout(1s, write(client, random_bytes(1'000'000)));
  const auto cut = co_await as_result(std::move(limited));
  CHECK(cut.error() == std::errc::timed_out);
  const std::error_code later = co_await write_error(client, "more");
  CHECK(later == std::errc::operation_canceled);
  const auto close = [](tcp_tls& of) -> task<> {
    co_await eddy::sleep(1s);
    of.close();
  };
  auto all = join(read_error(server), write_error(server, random_bytes(1'000'000)), close(server));
  auto draining = eddy::timeout(0s, some_of(server));
  static_cast<void>(co_await as_result(std::move(draining)));
  for (;;) {  // what the client has sent
    auto some = eddy::timeout(1s, some_of(server));
    const auto got = co_await as_result(std::move(some));
    if (!got) break;
  }
  const auto [reading, writing, nothing] = co_await std::move(all);
  CHECK(reading == std::errc::operation_canceled);
  CHECK(writing == std::errc::operation_canceled);
}

ASYNC_TEST("after a cancelled write of a TLS stream, later writes fail and reads go on") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by, 100);
  auto limited = eddy::timeout(1s, write(ends.client, random_bytes(1000)));
  const auto cut = co_await as_result(std::move(limited));
  CHECK(cut.error() == std::errc::timed_out);
  const std::error_code later = co_await write_error(ends.client, "more");
  CHECK(later == std::errc::operation_canceled);
  auto both = join(write(ends.server, "still"), some_of(ends.client));
  const auto [nothing, still] = co_await std::move(both);
  CHECK(still == "still");
}

ASYNC_TEST("closing a TLS stream resumes a reader and a writer with operation_canceled") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by, 100);
  const auto close = [](memory_tls& of) -> task<> {
    co_await eddy::sleep(1s);
    of.close();
  };
  auto all = join(read_error(ends.client), write_error(ends.client, random_bytes(1000)),
                  close(ends.client));
  const auto [reading, writing, nothing] = co_await std::move(all);
  CHECK(reading == std::errc::operation_canceled);
  CHECK(writing == std::errc::operation_canceled);
  CHECK_FALSE(ends.client.open());
}

ASYNC_TEST("an operation that is awaited after the close of a TLS stream fails") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  std::array<char, 8> buffer;
  auto reading = ends.client.read(buffer);
  auto writing = ends.client.write(std::string_view("late"));
  auto ending = ends.client.shutdown();
  ends.client.close();
  const auto read = co_await as_result(std::move(reading));
  CHECK(read.error() == std::errc::operation_canceled);
  const auto written = co_await as_result(std::move(writing));
  CHECK(written.error() == std::errc::operation_canceled);
  const auto ended = co_await as_result(std::move(ending));
  CHECK(ended.error() == std::errc::operation_canceled);
}

ASYNC_TEST("a server whose certificate has another name is refused by name") {
  const tls_contexts by;
  auto made = shake_hands(by.client, by.server, "other.example");
  const tls_outcome ends = co_await std::move(made);
  CHECK(ends.client.error() == tls_error::certificate_wrong_name);
  CHECK(ends.client_words ==
        "TLS handshake with other.example (certificate CN=localhost of CN=eddy test authority: "
        "hostname mismatch, but for localhost, 127.0.0.1): the certificate is for another name");
  CHECK(ends.server.error() == tls_error::refused_by_peer);
  CHECK(ends.server_words.contains("alert bad certificate"));
}

ASYNC_TEST("the address of a server is verified as its name is") {
  const tls_contexts by;
  auto right = shake_hands(by.client, by.server, "127.0.0.1");
  tls_outcome good = co_await std::move(right);
  REQUIRE(good.client.has_value());
  CHECK(good.server->server_name().empty());  // an address is no name (RFC 6066, section 3)
  auto wrong = shake_hands(by.client, by.server, "127.0.0.2");
  const tls_outcome bad = co_await std::move(wrong);
  CHECK(bad.client.error() == tls_error::certificate_wrong_name);
  CHECK(bad.client_words.contains("IP address mismatch, but for localhost, 127.0.0.1"));
}

ASYNC_TEST("a name in the subject alone does not count, and neither does a partial wildcard") {
  const tls_authority authority;
  const eddy::tls_client_context client(client_options(authority));
  tls_wish wish;
  wish.names = "DNS:l*host";
  for (const std::string& names : {std::string(), std::string("DNS:l*host")}) {
    wish.names = names;
    const eddy::tls_server_context server(server_options(authority, wish));
    auto made = shake_hands(client, server);
    const tls_outcome ends = co_await std::move(made);
    CHECK(ends.client.error() == tls_error::certificate_wrong_name);
  }
  wish.names = "DNS:*.example.org";
  const eddy::tls_server_context server(server_options(authority, wish));
  auto made = shake_hands(client, server, "a.example.org");
  const tls_outcome ends = co_await std::move(made);
  CHECK(ends.client.has_value());
}

ASYNC_TEST("an expired, a future, a foreign and a self-signed certificate are told apart") {
  const tls_authority authority;
  const tls_authority foreign("a foreign authority");
  const eddy::tls_client_context client(client_options(authority));
  tls_wish expired;
  expired.from = -10;
  expired.to = -2;
  tls_wish future;
  future.from = 2;
  future.to = 10;
  tls_wish for_clients;
  for_clients.usage = "clientAuth";
  const tls_identity alone = tls_authority::self_signed();
  eddy::tls_server_options self_signed;
  self_signed.certificate = alone.certificate;
  self_signed.key = alone.key;
  struct trial {
    eddy::tls_server_options server;
    tls_error error;
    std::string_view words;
  };
  const std::vector<trial> all{
      {server_options(authority, expired), tls_error::certificate_expired,
       "certificate has expired at "},
      {server_options(authority, future), tls_error::certificate_not_yet_valid, " before "},
      {server_options(foreign), tls_error::certificate_untrusted, "of CN=a foreign authority"},
      {self_signed, tls_error::certificate_untrusted, "self-signed certificate"},
      {server_options(authority, for_clients), tls_error::certificate_invalid, "purpose"},
  };
  for (const trial& one : all) {
    const eddy::tls_server_context server(one.server);
    auto made = shake_hands(client, server);
    const tls_outcome ends = co_await std::move(made);
    INFO(ends.client_words);
    CHECK(ends.client.error() == one.error);
    CHECK(ends.client_words.contains(one.words));
    CHECK(ends.server.error() == tls_error::refused_by_peer);
  }
}

ASYNC_TEST("a self-signed certificate that the program trusts is accepted") {
  const tls_identity alone = tls_authority::self_signed();
  eddy::tls_server_options server;
  server.certificate = alone.certificate;
  server.key = alone.key;
  eddy::tls_client_options client;
  client.system_roots = false;
  client.ca = alone.certificate;
  auto made = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  const tls_outcome ends = co_await std::move(made);
  CHECK(ends.client.has_value());
}

ASYNC_TEST("without verify_peer, a client accepts any server") {
  const tls_contexts by;
  eddy::tls_client_options options;
  options.system_roots = false;
  options.verify_peer = false;
  auto made = shake_hands(eddy::tls_client_context(options), by.server, "other.example");
  const tls_outcome ends = co_await std::move(made);
  CHECK(ends.client.has_value());
}

ASYNC_TEST("the authorities of the system do not know an authority of a test") {
  const tls_contexts by;
  auto made = shake_hands(eddy::tls_client_context(), by.server);
  const tls_outcome ends = co_await std::move(made);
  CHECK(ends.client.error() == tls_error::certificate_untrusted);
}

ASYNC_TEST("a host that is no possible name fails without a byte on the wire") {
  const tls_contexts by;
  const std::string label(63, 'a');
  for (const std::string& host : {std::string(),
                                  std::string("localhost\0.example", 18),
                                  std::string(64, 'a') + ".example",
                                  label + '.' + label + '.' + label + '.' + std::string(62, 'b'),
                                  std::string("."),
                                  std::string("a..b"),
                                  std::string(".a"),
                                  std::string("a.."),
                                  std::string("local host"),
                                  std::string(" localhost"),
                                  std::string("localhost\n"),
                                  std::string("x:443"),
                                  std::string("[localhost]"),
                                  std::string("[127.0.0.1]"),
                                  std::string("[::1"),
                                  std::string("::1]"),
                                  std::string("127.0.0.1x:"),
                                  std::string("127.0.0.1\0.example", 18),
                                  std::string("::1\0.example", 12),
                                  std::string("127.0.0.1%eth0"),
                                  std::string("::1%eth0]"),
                                  std::string("[[::1]]"),
                                  std::string("[::1]%eth0"),
                                  std::string("[::1]%eth0]"),
                                  std::string("::1%"),
                                  std::string("[::1%]"),
                                  std::string("%:"),
                                  std::string("*.example"),
                                  std::string("b\xc3\xbc"
                                              "cher.example"),
                                  std::string("https://localhost")}) {
    CAPTURE(host);
    auto [near, far] = duplex(100, 100);
    const auto made = co_await as_result(tls_connect(by.client, std::move(near), host));
    CHECK(made.error() == std::errc::invalid_argument);
    CHECK(far.unread() == 0);
  }
  auto made = shake_hands(by.client, by.server, "localhost.");
  const tls_outcome dotted = co_await std::move(made);
  REQUIRE(dotted.server.has_value());
  CHECK(dotted.server->server_name() == "localhost");
}

ASYNC_TEST("a host may be any name of DNS, or an address in brackets or with a scope") {
  const tls_authority authority;
  const std::string label(63, 'a');
  const std::string longest = label + '.' + label + '.' + label + '.' + std::string(61, 'b');
  tls_wish wish;
  wish.names = "DNS:" + longest + ",DNS:_x-1.Example,DNS:7.example,IP:::1,IP:fe80::1,IP:127.0.0.1";
  const eddy::tls_server_context server(server_options(authority, wish));
  const eddy::tls_client_context client(client_options(authority));
  const std::pair<std::string, std::string> all[] = {{longest, longest},
                                                     {longest + '.', longest},
                                                     {"_x-1.example", "_x-1.example"},
                                                     {"7.example", "7.example"},
                                                     {"::1", ""},
                                                     {"[::1]", ""},
                                                     {"fe80::1%no-such-device", ""},
                                                     {"[fe80::1%2]", ""},
                                                     {"127.0.0.1", ""}};
  for (const auto& [host, asked] : all) {
    CAPTURE(host);
    const tls_outcome ends = co_await shake_hands(client, server, host);
    CHECK(ends.client_words == "");
    REQUIRE(ends.server.has_value());
    CHECK(ends.server->server_name() == asked);
  }
  const tls_outcome other = co_await shake_hands(client, server, "[::2]");
  CHECK(other.client.error() == tls_error::certificate_wrong_name);
}

ASYNC_TEST("the application protocol is the first of the server that the client offers") {
  const tls_authority authority;
  eddy::tls_client_options client = client_options(authority);
  eddy::tls_server_options server = server_options(authority);
  client.alpn = {"http/1.1", "h2"};
  server.alpn = {"h2", "http/1.1"};
  auto right = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  const tls_outcome good = co_await std::move(right);
  REQUIRE(good.client.has_value());
  CHECK(good.client->alpn() == "h2");
  CHECK(good.server->alpn() == "h2");

  client.alpn = {"other"};
  auto wrong = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  const tls_outcome bad = co_await std::move(wrong);
  CHECK(bad.server.error() == tls_error::nothing_in_common);
  CHECK(bad.client.error() == tls_error::refused_by_peer);
  CHECK(bad.client_words.contains("no application protocol"));

  client.alpn = {};
  auto none = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  const tls_outcome plain = co_await std::move(none);
  REQUIRE(plain.client.has_value());
  CHECK(plain.client->alpn().empty());
}

ASYNC_TEST("two ends agree on the highest version of both, or on none") {
  const tls_authority authority;
  eddy::tls_client_options client = client_options(authority);
  eddy::tls_server_options server = server_options(authority);
  client.max_version = eddy::tls_version::tls1_2;
  auto right = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  tls_outcome good = co_await std::move(right);
  REQUIRE(good.client.has_value());
  CHECK(good.client->version() == eddy::tls_version::tls1_2);
  auto talk = join(write_and_end(*good.client, "old"), all_of(*good.server));
  const auto [nothing, old] = co_await std::move(talk);
  CHECK(old == "old");

  server.min_version = eddy::tls_version::tls1_3;
  auto wrong = shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  const tls_outcome bad = co_await std::move(wrong);
  CHECK(bad.server.error() == tls_error::nothing_in_common);
  CHECK(bad.client.error() == tls_error::refused_by_peer);
}

ASYNC_TEST("a server can require, ask for and do without a client certificate") {
  const tls_authority authority;
  const tls_authority foreign("a foreign authority");
  const tls_identity own = authority.sign({"the client", "", -1, 1, ""});
  const tls_identity others = foreign.sign({"a stranger", "", -1, 1, ""});
  const auto attempt = [&](eddy::tls_client_certificates wanted, const tls_identity* of,
                           eddy::tls_version version) {
    eddy::tls_server_options server = server_options(authority);
    server.client_certificates = wanted;
    server.ca = authority.pem();
    eddy::tls_client_options client = client_options(authority);
    client.max_version = version;
    if (of != nullptr) {
      client.certificate = of->certificate;
      client.key = of->key;
    }
    return shake_hands(eddy::tls_client_context(client), eddy::tls_server_context(server));
  };
  using enum eddy::tls_client_certificates;
  for (const auto version : {eddy::tls_version::tls1_2, eddy::tls_version::tls1_3}) {
    const tls_outcome with = co_await attempt(required, &own, version);
    REQUIRE(with.server.has_value());
    CHECK(with.server->peer_certificate().value().subject == "CN=the client");
    CHECK(with.client->peer_certificate().value().subject == "CN=localhost");

    tls_outcome without = co_await attempt(required, nullptr, version);
    CHECK(without.server.error() == tls_error::certificate_missing);
    // A client of TLS 1.3 has completed the handshake before the server refuses it.
    if (without.client) {
      const std::error_code error = co_await read_error(*without.client);
      CHECK(error == tls_error::refused_by_peer);
    } else {
      CHECK(without.client.error() == tls_error::refused_by_peer);
    }

    const tls_outcome optional_none = co_await attempt(optional, nullptr, version);
    REQUIRE(optional_none.server.has_value());
    CHECK_FALSE(optional_none.server->peer_certificate());

    const tls_outcome stranger = co_await attempt(optional, &others, version);
    CHECK(stranger.server.error() == tls_error::certificate_untrusted);
    CHECK(stranger.server_words.contains("CN=a stranger of CN=a foreign authority"));

    const tls_outcome unasked = co_await attempt(none, &own, version);
    REQUIRE(unasked.server.has_value());
    CHECK_FALSE(unasked.server->peer_certificate());
  }
}

// A buffer of this size takes a whole ClientHello. A post-quantum key share alone has 1,216 bytes.
constexpr std::size_t hello_size = 8192;

ASYNC_TEST("plain text at a TLS server, and from one, is no TLS") {
  const tls_contexts by;
  auto [near, far] = duplex(hello_size, hello_size);
  co_await near.write(std::string_view("GET / HTTP/1.1\r\n\r\n"));
  std::string words;
  auto made = words_of(tls_accept(by.server, std::move(far)), words);
  const auto refused = co_await std::move(made);
  CHECK(refused.error() == tls_error::not_tls);
  CHECK(words == "TLS handshake with the peer (http request): the peer does not speak TLS");
  auto [client, server] = duplex(hello_size, hello_size);
  co_await server.write(std::string_view("220 mail.example ESMTP\r\n"));
  const auto other = co_await as_result(tls_connect(by.client, std::move(client), "mail.example"));
  CHECK(other.error() == tls_error::not_tls);
}

ASYNC_TEST("a TCP peer without TLS that has sent less than 64 KiB reads an orderly end") {
  const tls_contexts by;
  for (const std::size_t size : {18, 4096, 20'000, 60'000}) {
    stream_pair tcp(loop);
    co_await tcp.near.write("GET / HTTP/1.1\r\n" + std::string(size, 'x'));
    const auto refused = co_await as_result(tls_accept(by.server, std::move(tcp.far)));
    CHECK(refused.error() == tls_error::not_tls);
    const std::string end = co_await some_of(tcp.near);
    CHECK(end.empty());
  }
}

ASYNC_TEST("a peer that ends in the middle of a handshake has cut it off") {
  const tls_contexts by;
  auto [near, far] = duplex(hello_size, hello_size);
  far.close();
  std::string words;
  auto made = words_of(tls_connect(by.client, std::move(near), "localhost"), words);
  const auto r = co_await std::move(made);
  INFO(words);
  CHECK(!r.has_value());
  auto [client, server] = duplex(hello_size, hello_size);
  server.shutdown();
  const auto ended = co_await as_result(tls_connect(by.client, std::move(client), "localhost"));
  CHECK(ended.error() == tls_error::truncated);
}

ASYNC_TEST("a handshake with a silent peer ends by its timeout and closes the stream") {
  const tls_contexts by;
  auto [near, far] = duplex(1000, 1000);
  auto limited = eddy::timeout(10s, tls_accept(by.server, std::move(near)));
  std::string words;
  try {
    co_await std::move(limited);
  } catch (const eddy::timed_out& e) {
    words = e.what();
  }
  CHECK(words.contains("read from a duplex"));
  const std::string end = co_await some_of(far);
  CHECK(end.empty());
}

ASYNC_TEST("a thousand stalled handshakes do not disturb a client, and end by their timeouts") {
  const tls_contexts by;
  std::vector<duplex_stream> silent;
  std::vector<eddy::future<std::error_code>> stalled;
  const auto limited_accept = [&by](duplex_stream wire) -> task<std::error_code> {
    auto limited = eddy::timeout(10s, tls_accept(by.server, std::move(wire)));
    const auto made = co_await as_result(std::move(limited));
    co_return made ? std::error_code() : made.error();
  };
  for (int i = 0; i < 1000; ++i) {
    auto [near, far] = duplex(1000, 1000);
    // Some stop before their first byte and some in the middle of their first record.
    if (i % 2 == 1) co_await near.write("\x16\x03\x01\x02\x00\x01"s);
    silent.push_back(std::move(near));
    stalled.push_back(eddy::spawn(limited_accept(std::move(far))));
  }
  co_await eddy::sleep(1s);
  tls_ends ends = co_await connected(by);
  auto talk = join(write_and_end(ends.client, "word"), all_of(ends.server));
  const auto [nothing, word] = co_await std::move(talk);
  CHECK(word == "word");
  int timed_out = 0;
  for (auto& one : stalled) {
    const std::error_code error = co_await std::move(one);
    if (error == std::errc::timed_out) ++timed_out;
  }
  CHECK(timed_out == 1000);
}

ASYNC_TEST("each operation of a TLS stream leaves OpenSSL's queue of errors empty") {
  const tls_contexts by;
  ERR_raise(ERR_LIB_USER, 1);  // an error of the program, which must not be taken for one of TLS
  tls_ends ends = co_await connected(by);
  CHECK(ERR_peek_error() == 0);
  ERR_raise(ERR_LIB_USER, 1);
  auto both = join(write_and_end(ends.client, "word"), all_of(ends.server));
  const auto [nothing, word] = co_await std::move(both);
  CHECK(word == "word");
  CHECK(ERR_peek_error() == 0);
  auto wrong = shake_hands(by.client, by.server, "other.example");
  const tls_outcome bad = co_await std::move(wrong);
  CHECK_FALSE(bad.client.has_value());
  CHECK(ERR_peek_error() == 0);
  ends.client.close();
  CHECK(ERR_peek_error() == 0);
}

ASYNC_TEST("a write over TLS of many empty buffers uses up the share") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  const std::vector<eddy::const_buffer> few(10);
  const std::vector<eddy::const_buffer> many(2000);
  bool ran = false;
  co_await eddy::yield();
  loop.defer([&ran] { ran = true; });
  co_await ends.client.write(few);
  co_await ends.client.write(few);
  CHECK_FALSE(ran);
  co_await ends.client.write(many);
  co_await ends.client.write(few);
  CHECK(ran);
}

TEST_CASE_FIXTURE(with_still_loop, "each operation of a TLS stream has a form with a handler") {
  const tls_contexts by;
  auto [near, far] = duplex(loop, 1000, 1000);
  memory_tls client;
  memory_tls server;
  const eddy::pending_operation connecting =
      tls_connect(by.client, std::move(near), "localhost",
                  [&](eddy::result<memory_tls> made) { client = std::move(made.value()); });
  const eddy::pending_operation accepting =
      tls_accept(by.server, std::move(far),
                 [&](eddy::result<memory_tls> made) { server = std::move(made.value()); });
  CHECK_FALSE(client.open());
  loop.run();
  REQUIRE(client.open());
  REQUIRE(server.open());

  std::array<char, 64> buffer;
  std::string got;
  bool ended = false;
  server.read(buffer, [&](eddy::result<std::size_t> n) {
    got.assign(buffer.data(), n.value());
    server.read(buffer, [&](eddy::result<std::size_t> end) { ended = end.value() == 0; });
  });
  bool shut_down = false;
  client.write(std::string_view("word"), [&](eddy::result<void> written) {
    CHECK(written.has_value());
    client.shutdown([&](eddy::result<void>) { shut_down = true; });
  });
  CHECK(got.empty());
  loop.run();
  CHECK(got == "word");
  CHECK(ended);
  CHECK(shut_down);
}

TEST_CASE_FIXTURE(with_still_loop, "a pending handshake with a handler is cancelled by its owner") {
  const tls_contexts by;
  auto [near, far] = duplex(loop, 1000, 1000);
  const auto held = std::make_shared<int>(0);
  eddy::pending_operation connecting = tls_connect(by.client, std::move(near), "localhost",
                                                   [held](const eddy::result<memory_tls>&) {});
  loop.run_ready();
  CHECK(held.use_count() == 2);
  connecting.stop();
  CHECK(held.use_count() == 1);
}

TEST_CASE_FIXTURE(with_still_loop, "a handler may destroy its TLS stream, and closing calls none") {
  const tls_contexts by;
  auto [near, far] = duplex(loop, 1000, 1000);
  auto client = std::make_unique<memory_tls>();
  memory_tls server;
  const eddy::pending_operation connecting =
      tls_connect(by.client, std::move(near), "localhost",
                  [&](eddy::result<memory_tls> made) { *client = std::move(made.value()); });
  const eddy::pending_operation accepting =
      tls_accept(by.server, std::move(far),
                 [&](eddy::result<memory_tls> made) { server = std::move(made.value()); });
  loop.run();
  const auto held = std::make_shared<int>(0);
  std::array<char, 4> buffer;
  int called = 0;
  client->read(buffer, [&, held](eddy::result<std::size_t>) {
    ++called;
    client.reset();
  });
  SUBCASE("in the handler") {
    server.close();
    loop.run();
    CHECK(called == 1);
  }
  SUBCASE("while it waits") {
    loop.run_ready();
    client.reset();
    loop.run_ready();
    CHECK(called == 0);
  }
  SUBCASE("after it was stopped") {
    loop.run_ready();
    client->stop_reading();
    client.reset();
    CHECK(called == 0);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("misuse of a TLS stream aborts with a sentence") {
  dies_saying("a tls_stream was used that is not open", [] {
    memory_tls none;
    static_cast<void>(none.version());
  });
  dies_saying("a read into an empty buffer", [] {
    eddy::event_loop loop;
    const tls_contexts by;
    auto body = [&]() -> task<> {
      tls_ends ends = co_await connected(by);
      static_cast<void>(ends.client.read(std::span<char>()));
    };
    eddy::block_on(loop, body());
  });
  dies_saying("a read is already pending on this tls_stream", [] {
    eddy::event_loop loop;
    const tls_contexts by;
    auto body = [&]() -> task<> {
      tls_ends ends = co_await connected(by);
      auto both = join(some_of(ends.client), some_of(ends.client));
      co_await std::move(both);
    };
    eddy::block_on(loop, body());
  });
  dies_saying("a write is already pending on this tls_stream", [] {
    eddy::event_loop loop;
    const tls_contexts by;
    auto body = [&]() -> task<> {
      tls_ends ends = co_await connected(by, 10);
      auto both = join(write(ends.client, std::string(1000, 'a')),
                       write(ends.client, std::string(1000, 'b')));
      co_await std::move(both);
    };
    eddy::block_on(loop, body());
  });
}
