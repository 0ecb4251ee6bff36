// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/resolver.h
#include <eddy/net/resolver.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/net/detail/dns_query.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/name_responder.h"
#include "support/planned_hosts.h"
#include "support/scoped_variable.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::resolve_error;
using eddy::resolver;
using eddy::resolver_options;
using eddy::result;
using eddy::task;
using eddy::tcp_stream;
using eddy::trial;
using addresses = std::vector<address>;
using answers = name_responder::answers;

#define DNS_TEST(name) ASYNC_TEST(name* doctest::skip(!eddy::detail::dns_available()))

namespace {

auto gives(std::vector<std::string> all, unsigned ttl = 60) {
  return [all = std::move(all), ttl](const dns_question& q) { return answers{q.with(all, ttl)}; };
}

/// A name server for IPv4 alone, so that each name is one question.
class v4_responder : public name_responder {
public:
  v4_responder() {
    both = {true, false};
    answer = gives({"192.0.2.1"});
  }
};

resolver_options options(const name_responder& server, std::size_t cache_size,
                         bool shares = false) {
  resolver_options how;
  how.servers = {server.where()};
  how.cache_size = cache_size;
  how.share_questions = shares;
  return how;
}

task<addresses> look_up(resolver& names, std::string host, std::uint16_t port = 80) {
  auto finding = names.resolve(std::move(host), port);
  addresses all = co_await std::move(finding);
  co_return all;
}

}  // namespace

DNS_TEST("an answer is kept for its TTL, for every port and in any case") {
  v4_responder server;
  resolver names(loop, options(server, 10));
  const addresses first = co_await look_up(names, "host.example", 80);
  CHECK(first == addresses{*address::parse("192.0.2.1:80")});
  co_await eddy::sleep(59s);
  const addresses second = co_await look_up(names, "HOST.example", 443);
  CHECK(second == addresses{*address::parse("192.0.2.1:443")});
  CHECK(server.log.size() == 1);
  CHECK(names.cached() == 1);
  co_await eddy::sleep(1s);
  co_await look_up(names, "host.example");
  CHECK(server.log.size() == 2);
  names.clear_cache();
  CHECK(names.cached() == 0);
  co_await look_up(names, "host.example");
  CHECK(server.log.size() == 3);
}

DNS_TEST("a name with a dot at its end is another name, which no search domain completes") {
  v4_responder server;
  server.answer = [](const dns_question& q) {
    if (q.name == "host.search.example") return answers{q.with({"192.0.2.2"})};
    return answers{q.error(3)};
  };
  const scoped_variable domain("LOCALDOMAIN", "search.example");
  resolver names(loop, options(server, 10, true));
  const addresses completed = co_await look_up(names, "host");
  CHECK(completed == addresses{*address::parse("192.0.2.2:80")});
  const auto absolute = co_await eddy::as_result(look_up(names, "host."));
  CHECK((absolute.error() == resolve_error::not_found));
  CHECK(names.cached() == 1);
}

DNS_TEST("a cache that is full forgets the answer that was used longest ago") {
  v4_responder server;
  resolver names(loop, options(server, 2));
  co_await look_up(names, "a.example");
  co_await look_up(names, "b.example");
  co_await look_up(names, "a.example");  // b.example was used longest ago
  co_await look_up(names, "c.example");
  CHECK(names.cached() == 2);
  server.log.clear();
  co_await look_up(names, "a.example");
  co_await look_up(names, "c.example");
  CHECK(server.log.empty());
  co_await look_up(names, "b.example");
  CHECK(server.log == std::vector<std::string>{"A b.example"});
}

DNS_TEST("errors and answers with a TTL of zero are not kept") {
  v4_responder server;
  resolver names(loop, options(server, 10));
  server.answer = gives({"192.0.2.1"}, 0);
  co_await look_up(names, "host.example");
  CHECK(names.cached() == 0);
  server.answer = [](const dns_question& q) { return answers{q.error(0)}; };
  const auto failed = co_await eddy::as_result(look_up(names, "host.example"));
  CHECK((failed.error() == resolve_error::no_address));
  CHECK(names.cached() == 0);
}

DNS_TEST("without a cache each question is asked") {
  v4_responder server;
  resolver names(loop, options(server, 0));
  co_await look_up(names, "host.example");
  co_await look_up(names, "host.example");
  CHECK(server.log.size() == 2);
}

DNS_TEST("equal questions that are under way are asked once, and all get the answer") {
  v4_responder server;
  resolver names(loop, options(server, 0, true));
  auto three = eddy::join(look_up(names, "host.example", 1), look_up(names, "HOST.example", 2),
                          look_up(names, "host.example", 3));
  const auto [one, two, third] = co_await std::move(three);
  CHECK(server.log.size() == 1);
  CHECK(one.at(0).port() == 1);
  CHECK(two.at(0).port() == 2);
  CHECK(third.at(0).port() == 3);
  co_await look_up(names, "host.example");
  CHECK(server.log.size() == 2);
  const addresses literal = co_await look_up(names, "192.0.2.9");
  CHECK(literal.at(0).host() == "192.0.2.9");
}

DNS_TEST("the error of a shared question goes to all who asked") {
  v4_responder server;
  server.answer = [](const dns_question& q) { return answers{q.error(0)}; };
  resolver names(loop, options(server, 10, true));
  auto both = eddy::join(eddy::as_result(look_up(names, "host.example")),
                         eddy::as_result(look_up(names, "host.example")));
  const auto [one, two] = co_await std::move(both);
  CHECK((one.error() == resolve_error::no_address));
  CHECK((two.error() == resolve_error::no_address));
  CHECK(server.log.size() == 1);
}

DNS_TEST("a shared question goes on when the one who asked first has cancelled") {
  v4_responder server;
  server.answer = nullptr;
  resolver names(loop, options(server, 0, true));
  std::optional<eddy::future<addresses>> first(eddy::spawn(look_up(names, "host.example")));
  auto second = eddy::spawn(look_up(names, "host.example"));
  while (server.log.empty()) co_await eddy::yield();
  first.reset();
  server.send_late(server.last().with({"192.0.2.1"}));
  const addresses all = co_await std::move(second);
  CHECK(all.size() == 1);
}

DNS_TEST("a shared question ends when all who asked have cancelled, and may be asked again") {
  v4_responder server;
  server.answer = nullptr;
  resolver names(loop, options(server, 0, true));
  const std::size_t before = open_descriptors();
  {
    const auto one = eddy::spawn(look_up(names, "host.example"));
    const auto two = eddy::spawn(look_up(names, "host.example"));
    while (server.log.empty()) co_await eddy::yield();
    CHECK(open_descriptors() > before);
  }
  CHECK(open_descriptors() == before);
  server.answer = gives({"192.0.2.1"});
  const addresses all = co_await look_up(names, "host.example");
  CHECK(all.size() == 1);
}

namespace {

/// The processor time in which a shared question of many waiters ends: with an answer, or because
/// they are cancelled.
std::chrono::nanoseconds time_to_end(std::size_t waiters, bool is_answered) {
  const auto used = [] {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  eddy::event_loop loop;
  v4_responder server;
  server.answer = nullptr;
  resolver names(loop, options(server, 0, true));
  std::vector<eddy::future<addresses>> all;
  for (std::size_t i = 0; i < waiters; ++i) {
    all.push_back(eddy::spawn(loop, names.resolve("host.example", 80)));
  }
  while (server.log.empty() || loop.count().ready != 0) loop.run_once();
  CHECK(server.log.size() == 1);
  if (is_answered) server.send_late(server.last().with({"192.0.2.1"}));
  const auto begun = used();
  for (const auto& each : all) {
    while (is_answered && !each.ready()) loop.run_once();
  }
  all.clear();
  return used() - begun;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "the end of a shared question takes a time in proportion to its waiters" *
                            doctest::skip(!eddy::detail::dns_available())) {
  for (const bool is_answered : {true, false}) {
    // So many waiters fit into no cache of the processor. On a busy machine, each round brings the
    // least times nearer to the true ones.
    auto few = std::chrono::nanoseconds::max();
    auto many = few;
    for (int i = 0; i < 5 && (i == 0 || many >= 10 * few); ++i) {
      few = std::min(few, time_to_end(10'000, is_answered));
      many = std::min(many, time_to_end(40'000, is_answered));
    }
    CHECK(many < 10 * few);  // if each waiter looked through all, it would be 16 times
  }
}

DNS_TEST("an operation goes on when its resolver has been destroyed") {
  v4_responder server;
  server.answer = nullptr;
  std::optional<resolver> names(std::in_place, loop, options(server, 10, true));
  auto asking = eddy::spawn(names->resolve("host.example", 80));
  while (server.log.empty()) co_await eddy::yield();
  names.reset();
  server.send_late(server.last().with({"192.0.2.1"}));
  const addresses all = co_await std::move(asking);
  CHECK(all.size() == 1);
}

ASYNC_TEST("the name of a service is a port, and so is a number") {
  name_server server;
  server.knows = {"192.0.2.1:0"};
  resolver names(loop);
  const addresses number = co_await names.resolve("host.example", "8080");
  CHECK(number == addresses{*address::parse("192.0.2.1:8080")});
  const addresses plain = co_await eddy::resolve("host.example", "0");
  CHECK(plain == addresses{*address::parse("192.0.2.1:0")});
  for (const char* const wrong : {"", "65536", "-1", "80 ", "no such service"}) {
    INFO(wrong);
    const auto r = co_await eddy::as_result(names.resolve("host.example", wrong));
    CHECK((r.error() == resolve_error::no_service));
  }
  std::string words;
  try {
    co_await eddy::resolve("host.example", std::string("a\0b", 3));
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "resolve host.example, service a\\x00b: the service is unknown or has no server");
}

ASYNC_TEST("a known service has its port") {
  name_responder server;
  server.answer = gives({"192.0.2.1"});
  const addresses all = co_await eddy::resolve("192.0.2.1", "https");
  CHECK(all == addresses{*address::parse("192.0.2.1:443")});
}

TEST_CASE_FIXTURE(with_loop, "a resolver with handlers gives the same results") {
  name_server server;
  server.knows = {"192.0.2.1:0"};
  resolver names(loop);
  std::vector<result<addresses>> found;
  const auto note = [&](result<addresses> r) { found.push_back(std::move(r)); };
  eddy::pending_operation a = names.resolve("host.example", 80, note);
  eddy::pending_operation b = names.resolve("host.example", "81", note);
  eddy::pending_operation c = eddy::resolve(loop, "host.example", "82", note);
  loop.run();
  REQUIRE(found.size() == 3);
  for (const auto& f : found) CHECK(f.value().size() == 1);

  int alive = 0;
  {
    const eddy::pending_operation dropped =
        names.resolve("host.example", 80,
                      [k = counted(alive)](const result<addresses>&) { FAIL("it was dropped"); });
    loop.run_ready();
  }
  CHECK(alive == 0);
  server.wait_for_workers();
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a resolver refuses a name server that is empty or has a scope") {
  resolver_options how;
  const auto refusal = [&](const address& server) {
    how.servers = {server};
    std::error_code error;
    try {
      const resolver names(loop, how);
    } catch (const std::system_error& e) {
      error = e.code();
    }
    return error;
  };
  const std::errc why =
      eddy::detail::dns_available() ? std::errc::invalid_argument : std::errc::not_supported;
  CHECK(refusal(address()) == why);
  CHECK(refusal(address(address::v6_bytes{0xfe, 0x80}, 53, 1)) == why);
  if (eddy::detail::dns_available()) CHECK(!refusal(address::loopback_v4(53)));
}

TEST_CASE("a resolver that was moved from, or is awaited on another loop, aborts the program") {
  dies_saying("a resolver was used after it was moved from", [] {
    eddy::event_loop loop;
    resolver names(loop);
    const resolver other = std::move(names);
    static_cast<void>(names.cached());
  });
  dies_saying("a resolver was awaited on another loop than its own", [] {
    eddy::event_loop loop;
    eddy::event_loop other;
    resolver names(loop);
    static_cast<void>(eddy::block_on(other, names.resolve("127.0.0.1", 80)));
  });
  dies_saying("resolver::resolve", [] {
    eddy::event_loop loop;
    resolver names(loop);
    static_cast<void>(names.resolve("127.0.0.1", 80, nullptr));
  });
}

namespace {

using network = planned_network<name_responder>;

/// A network with one host of each family. Questions for IPv6 are only noted.
struct silent_v6 : network {
  explicit silent_v6(const eddy::manual_clock& clock) : network(clock) {
    add_host("2001:db8::1");
    add_host("192.0.2.1");
    answer = [this](const dns_question& q) {
      if (q.type == dns_question::aaaa) {
        v6 = q;
        return answers();
      }
      return answers{q.with({"192.0.2.1"})};
    };
  }
  void answer_v6() { send_late(v6.with({"2001:db8::1"})); }
  dns_question v6;
};

resolver asks(eddy::event_loop& loop, const name_responder& server) {
  return resolver(loop, options(server, 0));
}

}  // namespace

DNS_TEST("a connect waits 50 ms for the addresses of IPv6, and then begins with IPv4") {
  silent_v6 net(clock);
  net.accepts("192.0.2.1");
  resolver names = asks(loop, net);
  const tcp_stream s = co_await names.connect("host.example", 80);
  CHECK(s.peer_address().is_v4());
  CHECK(net.connects == "192.0.2.1 at 50");
}

DNS_TEST("a connect begins with IPv6 if its addresses come within 50 ms after those of IPv4") {
  silent_v6 net(clock);
  net.accepts("2001:db8::1");
  resolver names = asks(loop, net);
  auto connecting = eddy::spawn(names.connect("host.example", 80));
  co_await eddy::sleep(20ms);
  net.answer_v6();
  const tcp_stream s = co_await std::move(connecting);
  CHECK(s.peer_address().is_v6());
  CHECK(net.connects == "2001:db8::1 at 20");
}

DNS_TEST("addresses of IPv6 that come late join the race") {
  silent_v6 net(clock);
  net.accepts("2001:db8::1");
  resolver names = asks(loop, net);
  auto connecting = eddy::spawn(names.connect("host.example", 80));
  co_await eddy::sleep(100ms);
  net.answer_v6();
  const tcp_stream s = co_await std::move(connecting);
  CHECK(s.peer_address().is_v6());
  CHECK(net.connects == "192.0.2.1 at 50, 2001:db8::1 at 300");
}

DNS_TEST("a connect begins with IPv6 at once, though IPv4 has no answer yet") {
  network net(clock);
  net.add_host("2001:db8::1");
  net.accepts("2001:db8::1");
  net.answer = [](const dns_question& q) {
    if (q.type == dns_question::a) return answers();
    return answers{q.with({"2001:db8::1"})};
  };
  resolver names = asks(loop, net);
  const tcp_stream s = co_await names.connect("host.example", 80);
  CHECK(net.connects == "2001:db8::1 at 0");
}

DNS_TEST("a connect begins with IPv4 at once if the name has no IPv6") {
  network net(clock);
  net.add_host("192.0.2.1");
  net.accepts("192.0.2.1");
  net.answer = gives({"192.0.2.1"});
  resolver names = asks(loop, net);
  const tcp_stream s = co_await names.connect("host.example", 80);
  CHECK(net.connects == "192.0.2.1 at 0");
}

DNS_TEST("IPv6 black-holed and IPv4 good connects 250 ms after the answers") {
  network net(clock);
  net.add_host("2001:db8::1");
  net.add_host("192.0.2.1");
  net.accepts("192.0.2.1");
  net.answer = gives({"192.0.2.1", "2001:db8::1"});
  std::optional<result<tcp_stream>> got;
  resolver names = asks(loop, net);
  const eddy::pending_operation p =
      names.connect("host.example", 80, {}, [&](result<tcp_stream> s) { got = std::move(s); });
  while (!got) co_await eddy::sleep(10ms);
  CHECK(got->value().peer_address().is_v4());
  CHECK(net.connects == "2001:db8::1 at 0, 192.0.2.1 at 250");
}

DNS_TEST("a connect by a resolver with a cache asks once for two connections") {
  network net(clock);
  net.both = {true, false};
  net.add_host("192.0.2.1");
  net.accepts("192.0.2.1");
  net.answer = gives({"192.0.2.1"});
  resolver names(loop, options(net, 10));
  const tcp_stream one = co_await names.connect("host.example", 80);
  const tcp_stream two = co_await names.connect("host.example", 80);
  CHECK(net.log.size() == 1);
  CHECK(net.connects == "192.0.2.1 at 0, 192.0.2.1 at 0");
}

DNS_TEST("the error of a connect tells why there is no address") {
  network net(clock);
  resolver names = asks(loop, net);
  const auto words = [](resolver& by) -> task<std::string> {
    std::string what;
    auto connecting = by.connect("host.example", 80);
    try {
      co_await std::move(connecting);
    } catch (const std::system_error& e) {
      what = e.what();
    }
    co_return what;
  };
  const std::string asked = ", asked " + net.where().to_string();
  net.answer = [](const dns_question& q) { return answers{q.error(3)}; };
  const std::string unknown = co_await words(names);
  CHECK(unknown == "connect to host.example:80" + asked + ": name not found");
  net.answer = [](const dns_question& q) { return answers{q.error(0)}; };
  const std::string none = co_await words(names);
  CHECK(none == "connect to host.example:80" + asked +
                    ": the name has no address that this machine can use");
  net.answer = [](const dns_question& q) { return answers{q.error(2)}; };
  const std::string broken =
      "connect to host.example:80" + asked + ": no name server gave an answer; try again later";
  const std::string unanswered = co_await words(names);
  CHECK(unanswered == broken);
  resolver shared(loop, options(net, 0, true));
  const std::string unshared = co_await words(shared);
  CHECK(unshared == broken);
  net.add_host("192.0.2.1", ECONNREFUSED);
  net.answer = gives({"192.0.2.1"});
  const std::string refused = co_await words(names);
  CHECK(refused == "connect to host.example:80, tried 192.0.2.1:80: Connection refused");
}

DNS_TEST("a connect that is cancelled while names are asked leaves no descriptor open") {
  network net(clock);
  resolver names = asks(loop, net);
  const std::size_t before = open_descriptors();
  auto limited = eddy::as_result(eddy::timeout(1s, names.connect("host.example", 80)));
  const auto r = co_await std::move(limited);
  CHECK(r.error() == std::errc::timed_out);
  CHECK(open_descriptors() == before);
}

namespace {

using eddy::detail::failing_allocations;

/// A network whose own allocations never fail.
struct spared_network : network {
  using network::network;
  int connect(int descriptor, const sockaddr* to, socklen_t size) override {
    const failing_allocations::pardon own;
    return network::connect(descriptor, to, size);
  }
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    const failing_allocations::pardon own;
    return network::send_message(descriptor, message, flags);
  }
};

/// Runs `work` again and again, and fails another allocation each time, until none is left.
/// `is_right` looks at each run that gave a value; the others must end with `std::bad_alloc`.
template <class Work, class Check>
void without_memory(eddy::manual_clock& clock, eddy::event_loop& loop, Work work, Check is_right) {
  for (std::size_t k = 0;; ++k) {
    INFO("allocation ", k);
    spared_network net(clock);
    net.add_host("2001:db8::1", ECONNREFUSED);
    net.add_host("2001:db8::2", ECONNREFUSED);
    net.add_host("192.0.2.1", ECONNREFUSED);
    net.add_host("192.0.2.2", ECONNREFUSED);
    net.answer = gives({"2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"});
    resolver_options how = options(net, 10, true);
    bool failed = false;
    try {
      std::optional<failing_allocations> failing(std::in_place, k,
                                                 failing_allocations::times::once);
      auto made = eddy::block_on(loop, work(how));
      failed = failing->failed();
      failing.reset();
      CHECK_MESSAGE(is_right(net, made), net.connects);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    CHECK(tcp_stream::count() == 0);
    if (!failed) return;
    REQUIRE(k < 1000);
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_jumping_loop,
                  "without memory a look-up fails with bad_alloc, and never loses an address" *
                      doctest::skip(!eddy::detail::dns_available())) {
  const auto is_whole = [](const network&, const addresses& all) { return all.size() == 4; };
  for (const bool shares : {false, true}) {
    without_memory(
        clock, loop,
        [&](resolver_options how) -> task<addresses> {
          how.share_questions = shares;
          resolver names(loop, std::move(how));
          auto finding = names.resolve("host.example", 80);
          addresses all = co_await std::move(finding);
          co_return all;
        },
        is_whole);
  }
  const addresses local = eddy::block_on(loop, eddy::resolve("localhost", 80));
  without_memory(
      clock, loop,
      [&](const resolver_options&) -> task<addresses> {
        auto finding = eddy::resolve("localhost", 80);
        addresses all = co_await std::move(finding);
        co_return all;
      },
      [&](const network&, const addresses& all) { return all == local; });
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "without memory a connect fails with bad_alloc, and never leaves an address out" *
                      doctest::skip(!eddy::detail::dns_available())) {
  for (const bool keeps : {false, true}) {
    without_memory(
        clock, loop,
        [&](resolver_options how) -> task<std::error_code> {
          how.share_questions = keeps;
          how.cache_size = keeps ? 10 : 0;
          resolver names(loop, std::move(how));
          auto connecting = eddy::as_result(names.connect("host.example", 80));
          const auto made = co_await std::move(connecting);
          co_return made ? std::error_code() : made.error();
        },
        [](const network& net, std::error_code refused) {
          return refused == std::errc::connection_refused &&
                 std::ranges::count(net.connects, ',') == 3;  // all four were tried
        });
  }
}

namespace {

/// Two who share a question, and a third one who asks for the answer that was kept.
struct shares {
  explicit shares(trial& t) : of(t) {
    server.answer = gives({"192.0.2.1"});
    how = options(server, 10, true);
  }
  task<> work() {
    const trial::part held(of);
    resolver names(of.loop(), how);
    auto two = eddy::join(one(names), one(names));
    co_await std::move(two);
    co_await one(names);
  }
  /// A failed allocation of the name server makes it silent.
  static task<> one(resolver& names) {
    auto finding = eddy::timeout(1s, names.resolve("host.example", 80));
    const auto found = co_await eddy::as_result(std::move(finding));
    if (!found && found.error() != std::errc::timed_out) throw std::system_error(found.error());
  }
  trial& of;
  v4_responder server;
  resolver_options how;
};

}  // namespace

TEST_CASE("resolver: a shared question and a kept answer, ended at every point" *
          doctest::skip(!eddy::detail::dns_available())) {
  check_report(eddy::every_point<shares>());
  check_report(eddy::every_point<shares>(1));
}
