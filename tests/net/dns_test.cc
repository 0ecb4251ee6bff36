// SPDX-License-Identifier: BSD-2-Clause
// DNS by c-ares, against a name server on loopback that misbehaves.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/detail/name_services.h>
#include <eddy/net/resolve.h>
#include <eddy/net/resolver.h>

#include "support/async_test.h"
#include "support/epoll_refusal.h"
#include "support/error_words.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/name_responder.h"
#include "support/temporary_directory.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::resolve_error;
using eddy::resolver;
using eddy::resolver_options;
using eddy::task;
using eddy::trial;
using addresses = std::vector<address>;
using answers = name_responder::answers;

// The tests of c-ares are skipped without it.
#define DNS_TEST(name) ASYNC_TEST(name* doctest::skip(!eddy::detail::dns_available()))

namespace {

const std::vector<std::string> both = {"2001:db8::1", "192.0.2.1"};

/// A resolver that asks `server`.
resolver ask(eddy::event_loop& loop, const name_responder& server) {
  resolver_options how;
  how.servers = {server.where()};
  return resolver(loop, how);
}

task<std::error_code> error_of(resolver& names, std::string host = "host.example") {
  const auto r = co_await eddy::as_result(names.resolve(std::move(host), 80));
  co_return r ? std::error_code() : r.error();
}

/// Checks the error with which an operation ends, and returns its words.
template <class Operation>
task<std::string> words_of(Operation asking, resolve_error error) {
  std::string words;
  try {
    co_await std::move(asking);
  } catch (const std::system_error& e) {
    CHECK(e.code() == error);
    words = e.what();
  }
  co_return words;
}

/// Counts the look-ups by getaddrinfo.
class counts_look_ups : public name_responder {
public:
  int look_up(const char* host, const addrinfo* hints, addrinfo** found) override {
    ++looked_up;
    return name_responder::look_up(host, hints, found);
  }
  std::atomic<int> looked_up = 0;
};

/// Answers every question with the addresses.
auto gives(std::vector<std::string> all) {
  return [all = std::move(all)](const dns_question& q) { return answers{q.with(all)}; };
}

std::size_t threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

DNS_TEST("a name has the addresses that the name server gives, without a thread") {
  name_responder server;
  server.answer = gives({"192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"});
  const std::size_t before = threads();
  resolver names = ask(loop, server);
  addresses all = co_await names.resolve("host.example", 443);
  CHECK(threads() == before);
  std::ranges::sort(all);
  CHECK(all == addresses{*address::parse("192.0.2.1:443"), *address::parse("192.0.2.2:443"),
                         *address::parse("[2001:db8::1]:443")});
  std::ranges::sort(server.log);
  CHECK(server.log == std::vector<std::string>{"A host.example", "AAAA host.example"});
}

DNS_TEST("no question is asked for a family that the machine does not use") {
  name_responder server;
  server.both = {true, false};
  server.answer = gives(both);
  resolver names = ask(loop, server);
  const addresses v4 = co_await names.resolve("host.example", 80);
  CHECK(v4 == addresses{*address::parse("192.0.2.1:80")});
  CHECK(server.log == std::vector<std::string>{"A host.example"});
  server.both = {false, true};
  const addresses v6 = co_await names.resolve("host.example", 80);
  CHECK(v6 == addresses{*address::parse("[2001:db8::1]:80")});
}

DNS_TEST("localhost has loopback addresses, and no name server is asked") {
  name_responder server;
  server.answer = gives({"192.0.2.1"});
  resolver names = ask(loop, server);
  for (const char* const name : {"localhost", "LocalHost.", "www.localhost"}) {
    const addresses all = co_await names.resolve(name, 80);
    REQUIRE(!all.empty());
    for (const address& a : all) CHECK(a.is_loopback());
  }
  CHECK(server.log.empty());
}

DNS_TEST("a literal address and a name with a zero are never asked for") {
  name_responder server;
  resolver names = ask(loop, server);
  const addresses literal = co_await names.resolve("192.0.2.7", 80);
  CHECK(literal == addresses{*address::parse("192.0.2.7:80")});
  const std::error_code zero = co_await error_of(names, std::string("a\0b", 3));
  CHECK(zero == resolve_error::not_found);
  CHECK(server.log.empty());
}

DNS_TEST("forms of IPv4 that getaddrinfo reads are addresses, and never asked for") {
  name_responder server;
  server.answer = gives({"192.0.2.66"});
  resolver names = ask(loop, server);
  for (const auto& [form, host] :
       {std::pair("127.1", "127.0.0.1"), std::pair("0x7f.1", "127.0.0.1"),
        std::pair("0X7F000001", "127.0.0.1"), std::pair("2130706433", "127.0.0.1"),
        std::pair("010.0.0.1", "8.0.0.1"), std::pair("1.2.3", "1.2.0.3"), std::pair("0", "0.0.0.0"),
        std::pair("192.0.2.7", "192.0.2.7")}) {
    INFO(form);
    const addresses all = co_await names.resolve(form, 80);
    CHECK(all == addresses{*address::parse(host, 80)});
    const addresses by_system = co_await eddy::resolve(form, 80);
    CHECK(by_system == all);
  }
  CHECK(server.log.empty());
}

DNS_TEST("numbers that are no address are a name") {
  name_responder server;
  server.both = {true, false};
  server.answer = gives({"192.0.2.66"});
  resolver names = ask(loop, server);
  for (const char* const name : {"08.1.1.1", "1.2.3.256", "256.1.1.1", "1.2.3.4.", "1.2.3.4.5",
                                 "4294967296", "0x", "0x7g", "1a"}) {
    INFO(name);
    server.log.clear();
    const addresses all = co_await names.resolve(name, 80);
    CHECK(all == addresses{*address::parse("192.0.2.66:80")});
    CHECK(server.log.size() == 1);
  }
}

DNS_TEST("a name that is no host name is not asked for, and getaddrinfo says the same") {
  counts_look_ups server;
  server.answer = gives(both);
  resolver names = ask(loop, server);
  int asked = 0;
  for (const char* const name :
       {"b\xc3\xbc"
        "cher.example",
        "\xff.example", "a b.example", "a*b.example", "-a.example", "a/b.example", "a\\.b.example",
        "a:b", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4 x", "fe80::1%nosuch", "fe80::1%", "1::2::3"}) {
    INFO(name);
    const std::error_code failed = co_await error_of(names, name);
    CHECK(failed == resolve_error::not_found);
    CHECK(server.looked_up == asked);
    const auto by_system = co_await eddy::as_result(eddy::resolve(name, 80));
    REQUIRE(!by_system);
    CHECK(by_system.error() == resolve_error::not_found);
    CHECK(server.looked_up == ++asked);
    const auto connected = co_await eddy::as_result(names.connect(name, 80));
    REQUIRE(!connected);
    CHECK(connected.error() == resolve_error::not_found);
  }
  const std::error_code onion = co_await error_of(names, "x.onion");
  CHECK(onion == resolve_error::not_found);
  CHECK(server.log.empty());
  const std::error_code underscore = co_await error_of(names, "under_score.example");
  CHECK(!underscore);
}

DNS_TEST("a name that is empty, too long, or has an empty label is not found and not asked for") {
  name_responder server;
  server.answer = gives(both);
  resolver names = ask(loop, server);
  std::string long_name;
  for (int i = 0; i < 150; ++i) long_name += "a.";
  for (const std::string& name :
       {std::string(), std::string(".."), std::string("a..b"), std::string(".a"),
        std::string(64, 'a') + ".example", std::string(300, 'a'), long_name + "example"}) {
    INFO(name);
    const std::error_code failed = co_await error_of(names, name);
    CHECK(failed == resolve_error::not_found);
  }
  CHECK(server.log.empty());
}

TEST_CASE_FIXTURE(tidy, "a name of over 1000 bytes is not found, and its words are short" *
                            doctest::skip(!eddy::detail::dns_available())) {
  eddy::event_loop loop;
  counts_look_ups server;
  resolver_options how;
  how.servers = {server.where()};
  how.cache_size = 1;
  how.share_questions = true;
  resolver names(loop, how);
  for (const std::string& name : {std::string(1001, '*'), std::string(4'000'000, 'a')}) {
    INFO(name.size());
    const std::string shown =
        std::string(1000, name[0]) + "... (" + std::to_string(name.size()) + " bytes)";
    const auto words = [&loop](auto asking) {
      return eddy::block_on(loop, words_of(std::move(asking), resolve_error::not_found));
    };
    const std::string error = ": name not found";
    CHECK(words(names.resolve(name, 80)) == "resolve " + shown + error);
    CHECK(words(eddy::resolve(name, 80)) == "resolve " + shown + error);
    CHECK(words(names.connect(name, 80)) == "connect to " + shown + ":80" + error);
    CHECK(words(names.resolve_srv(name)) == "resolve the SRV records of " + shown + error);
  }
  CHECK(server.looked_up == 0);
  CHECK(server.log.empty());
}

DNS_TEST("each answer of a name server has its error, and the error names the name") {
  name_responder server;
  resolver_options how;
  how.servers = {server.where()};
  how.tries = 1;
  resolver names(loop, how);
  const auto code = [](unsigned c) {
    return [c](const dns_question& q) { return answers{q.error(c)}; };
  };
  server.answer = code(3);
  std::string words;
  try {
    co_await names.resolve("no.example", 80);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "resolve no.example, asked " + server.where().to_string() + ": name not found");
  server.answer = code(0);
  const std::error_code empty = co_await error_of(names);
  CHECK(empty == resolve_error::no_address);
  for (const unsigned none : {2U, 4U, 5U}) {  // SERVFAIL, NOTIMP, REFUSED
    INFO(none);
    server.answer = code(none);
    const std::error_code again = co_await error_of(names);
    CHECK(again == resolve_error::try_again);
    const auto services = co_await eddy::as_result(names.resolve_srv("_http._tcp.example"));
    CHECK((services.error() == resolve_error::try_again));
  }
  for (const unsigned other : {1U, 6U, 11U, 15U}) {  // FORMERR, YXDOMAIN, and unassigned codes
    INFO(other);
    server.answer = code(other);
    const std::error_code failed = co_await error_of(names);
    CHECK(failed == resolve_error::failed);
    const auto services = co_await eddy::as_result(names.resolve_srv("_http._tcp.example"));
    CHECK((services.error() == resolve_error::failed));
  }
}

DNS_TEST("a look-up without a free descriptor for its socket ends with the error of the system") {
  for (const int error : {EMFILE, ENFILE, ENOBUFS}) {
    INFO(error);
    name_responder server;
    server.answer = gives(both);
    server.fail(call::socket, error, 1, true);
    resolver names = ask(loop, server);
    const std::error_code failed = co_await error_of(names);
    CHECK(failed == std::error_code(error, std::generic_category()));
    const auto services = co_await eddy::as_result(names.resolve_srv("_http._tcp.example"));
    REQUIRE(!services);
    CHECK(services.error() == std::error_code(error, std::generic_category()));
    const auto connected = co_await eddy::as_result(names.connect("host.example", 80));
    REQUIRE(!connected);
    CHECK(connected.error() == std::error_code(error, std::generic_category()));
  }
  // The next try finds a descriptor, and the server does not answer.
  name_responder server;
  server.answer = [](const dns_question& q) { return answers{q.error(2)}; };
  server.fail(call::socket, EMFILE);
  resolver names = ask(loop, server);
  const std::error_code failed = co_await error_of(names);
  CHECK(failed == resolve_error::try_again);
}

DNS_TEST("the error of a look-up names the host, and the name servers that were asked") {
  name_responder server;
  server.answer = [](const dns_question& q) { return answers{q.error(2)}; };  // SERVFAIL
  resolver_options how;
  how.servers = {server.where(), server.where()};
  how.tries = 1;
  resolver names(loop, how);
  const std::string where = server.where().to_string();
  const std::string failed =
      co_await words_of(names.resolve("host.example", 80), resolve_error::try_again);
  CHECK(failed == "resolve host.example, asked " + where + " and " + where +
                      ": no name server gave an answer; try again later");
  const std::string services =
      co_await words_of(names.resolve_srv("_http._tcp.example"), resolve_error::try_again);
  CHECK(services == "resolve the SRV records of _http._tcp.example, asked " + where + " and " +
                        where + ": no name server gave an answer; try again later");
  server.answer = [](const dns_question& q) { return answers{q.error(3)}; };  // NXDOMAIN
  const std::string none =
      co_await words_of(names.resolve("host.example", 80), resolve_error::not_found);
  CHECK(none == "resolve host.example, asked " + where + " and " + where + ": name not found");
  const std::string no_service =
      co_await words_of(names.resolve_srv("_http._tcp.example"), resolve_error::not_found);
  CHECK(no_service == "resolve the SRV records of _http._tcp.example, asked " + where + " and " +
                          where + ": name not found");
  how.share_questions = true;
  resolver sharing(loop, how);
  for (resolver* const each : {&names, &sharing}) {
    const std::string connect =
        co_await words_of(each->connect("host.example", 80), resolve_error::not_found);
    CHECK(connect ==
          "connect to host.example:80, asked " + where + " and " + where + ": name not found");
    // No name server is asked for these names.
    const std::string wrong = co_await words_of(each->resolve("a*b", 80), resolve_error::not_found);
    CHECK(wrong == "resolve a*b: name not found");
    const std::string never =
        co_await words_of(each->connect("x.onion", 80), resolve_error::not_found);
    CHECK(never == "connect to x.onion:80: name not found");
  }
  const std::string empty = co_await words_of(names.resolve("", 80), resolve_error::not_found);
  CHECK(empty == "resolve \"\": name not found");
  const std::string port =
      co_await words_of(names.resolve("host.example", ""), resolve_error::no_service);
  CHECK(port == "resolve host.example, service \"\": the service is unknown or has no server");
}

DNS_TEST("a name that loops by compression is an error, and ends") {
  name_responder server;
  server.answer = [](const dns_question& q) {
    dns_message m = q.begin(2);
    const auto at = static_cast<unsigned>(m.bytes.size());
    m.pointer(at).record(q.type, 60, std::string(q.type == dns_question::a ? 4 : 16, '\1'));
    m.pointer(at + 1).record(q.type, 60, "");
    return answers{m.bytes};
  };
  resolver names = ask(loop, server);
  const std::error_code failed = co_await error_of(names);
  CHECK(failed == resolve_error::failed);
}

DNS_TEST("answers with a wrong id or a wrong question are ignored") {
  name_responder server;
  server.answer = [](const dns_question& q) {
    dns_question other = q;
    other.id ^= 1;
    dns_question elsewhere = q;
    elsewhere.section[1] = 'x';
    dns_question kind = q;
    kind.section[kind.section.size() - 3] ^= 2;
    const std::vector<std::string> evil = {"203.0.113.1", "2001:db8::bad"};
    return answers{other.with(evil), elsewhere.with(evil), kind.with(evil), q.with(both)};
  };
  resolver names = ask(loop, server);
  addresses all = co_await names.resolve("host.example", 80);
  std::ranges::sort(all);
  CHECK(all == addresses{*address::parse("192.0.2.1:80"), *address::parse("[2001:db8::1]:80")});
}

DNS_TEST("a truncated answer is asked for again by TCP") {
  name_responder server;
  server.answer = [](const dns_question& q) {
    return answers{q.by_tcp ? q.with(both) : q.begin(0, 0, true).bytes};
  };
  resolver names = ask(loop, server);
  const addresses all = co_await names.resolve("host.example", 80);
  CHECK(all.size() == 2);
  CHECK(std::ranges::count(server.log, "A host.example by TCP") == 1);
}

DNS_TEST("500 records are 500 addresses") {
  name_responder server;
  std::vector<std::string> many;
  for (int i = 0; i < 500; ++i) {
    many.push_back("10.1." + std::to_string(i / 250) + '.' + std::to_string(i % 250));
  }
  server.answer = [&](const dns_question& q) {
    return answers{q.by_tcp ? q.with(many) : q.begin(0, 0, true).bytes};
  };
  server.both = {true, false};
  resolver names = ask(loop, server);
  addresses all = co_await names.resolve("host.example", 80);
  std::ranges::sort(all);
  CHECK(all.size() == 500);
  CHECK(std::ranges::adjacent_find(all) == all.end());
}

DNS_TEST("a TCP answer that is cut off anywhere is an error, and ends") {
  for (const std::size_t bytes : {1U, 2U, 3U, 14U, 30U}) {
    INFO(bytes);
    name_responder server;
    server.cut_off = bytes;
    server.both = {true, false};
    server.answer = [](const dns_question& q) {
      return answers{q.by_tcp ? q.with(both) : q.begin(0, 0, true).bytes};
    };
    resolver_options how;
    how.servers = {server.where()};
    how.timeout = 20ms;
    how.tries = 1;
    resolver names(loop, how);
    const std::error_code failed = co_await error_of(names);
    CHECK(failed == resolve_error::try_again);
  }
}

DNS_TEST("a chain of aliases is followed, and a loop of aliases has no address") {
  name_responder server;
  server.both = {true, false};
  const auto aliases = [](bool ends) {
    return [ends](const dns_question& q) {
      dns_message one;
      one.name("one.example");
      dns_message m = q.begin(ends ? 3 : 2);
      m.name("host.example").record(dns_question::cname, 60, one.bytes);
      dns_message two;
      two.name(ends ? "two.example" : "host.example");
      m.name("one.example").record(dns_question::cname, 60, two.bytes);
      if (ends) m.name("two.example").record(dns_question::a, 60, std::string("\xc0\0\2\1", 4));
      return answers{m.bytes};
    };
  };
  resolver names = ask(loop, server);
  server.answer = aliases(true);
  const addresses all = co_await names.resolve("host.example", 80);
  CHECK(all == addresses{*address::parse("192.0.2.1:80")});
  server.answer = aliases(false);
  const std::error_code looped = co_await error_of(names);
  CHECK(looped == resolve_error::no_address);
}

DNS_TEST("a silent name server costs the limit of the program, and no more") {
  name_responder server;
  resolver names = ask(loop, server);
  auto limited = eddy::as_result(eddy::timeout(1s, names.resolve("host.example", 80)));
  const std::size_t before = open_descriptors();
  const auto r = co_await std::move(limited);
  REQUIRE(!r);
  CHECK(r.error() == std::errc::timed_out);
  CHECK(!server.log.empty());
  CHECK(open_descriptors() == before);
}

DNS_TEST("a silent name server is asked as often as the options say, and then is an error") {
  name_responder server;
  server.both = {true, false};
  resolver_options how;
  how.servers = {server.where()};
  how.timeout = 10ms;
  how.tries = 2;
  resolver names(loop, how);
  const std::error_code failed = co_await error_of(names);
  CHECK(failed == resolve_error::try_again);
  CHECK(std::ranges::count(server.log, "A host.example") == 2);
}

TEST_CASE_FIXTURE(tidy, "after a fork, one process may take the answer, and the other asks again" *
                            doctest::skip(!eddy::detail::dns_available())) {
  eddy::event_loop loop;
  name_responder server;
  server.both = {true, false};
  resolver_options how;
  how.servers = {server.where()};
  how.timeout = 100ms;
  how.tries = 5;
  resolver names(loop, how);
  auto asking = eddy::spawn(loop, names.resolve("host.example", 80));
  while (server.log.empty()) loop.run_once();
  CHECK(holds_in_child([&] {
    server.send_late(server.last().with({"192.0.2.1"}));
    while (!asking.ready()) loop.run_once();
    return std::move(asking).take().value().size() == 1;
  }));
  CHECK(!asking.ready());
  server.answer = gives({"192.0.2.1"});
  while (!asking.ready()) loop.run_once();
  CHECK(std::move(asking).take().value().size() == 1);
  CHECK(server.log == std::vector<std::string>(2, "A host.example"));
}

namespace {

/// Asks a silent name server, and gives the number of turns until the error.
int turns_of_silence(eddy::event_loop& loop) {
  name_responder server;
  server.both = {true, false};
  resolver_options how;
  how.servers = {server.where()};
  how.timeout = 30ms;
  how.tries = 2;
  resolver names(loop, how);
  auto asking = eddy::spawn(loop, names.resolve("host.example", 80));
  int turns = 0;
  for (; !asking.ready() && turns < 200; ++turns) loop.run_once();
  CHECK(asking.ready());
  CHECK(std::ranges::count(server.log, "A host.example") == 2);
  return turns;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "a silent name server costs real time and few turns, and moves no clock" *
                            doctest::skip(!eddy::detail::dns_available())) {
  for (const auto idle : {eddy::manual_clock::idle::hold, eddy::manual_clock::idle::jump}) {
    eddy::manual_clock clock(idle);
    const auto begun = clock.now();
    const auto really = std::chrono::steady_clock::now();
    eddy::event_loop loop(clock);
    CHECK(turns_of_silence(loop) < 20);
    CHECK(clock.now() == begun);
    CHECK(std::chrono::steady_clock::now() - really >= 80ms);
  }
  eddy::event_loop real;
  CHECK(turns_of_silence(real) < 20);
}

DNS_TEST("without a descriptor for the time limit, a look-up on a held clock is an error") {
  name_responder server;
  server.fail(call::open_timer, EMFILE);
  resolver names = ask(loop, server);
  const std::error_code failed = co_await error_of(names);
  CHECK(failed == std::errc::too_many_files_open);
}

DNS_TEST("each time limit and each number of tries is valid") {
  name_responder server;
  server.both = {true, false};
  resolver_options how;
  how.servers = {server.where()};
  for (const auto limit :
       {-1ms, std::chrono::milliseconds::min(), std::chrono::milliseconds::max()}) {
    for (const int tries : {-1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
      how.timeout = limit;
      how.tries = tries;
      resolver names(loop, how);
      server.log.clear();
      auto limited = eddy::as_result(eddy::timeout(1s, names.resolve("host.example", 80)));
      const auto silent = co_await std::move(limited);
      CHECK(silent.error() == std::errc::timed_out);
      CHECK(server.log.size() == 1);
    }
  }
  how.timeout = 0ms;
  how.tries = std::numeric_limits<int>::max();
  resolver names(loop, how);
  server.fail(call::connect, ENETUNREACH, 1, true);
  const std::size_t before = server.count(call::connect);
  const std::error_code unreachable = co_await error_of(names);
  CHECK(unreachable == resolve_error::try_again);
  CHECK(server.count(call::connect) - before == 100);
}

DNS_TEST("the second name server is asked if the first one is silent or broken") {
  name_responder server;
  server.answer = gives(both);
  address nobody;
  {
    const name_responder gone;
    nobody = gone.where();
  }
  resolver_options how;
  how.servers = {nobody, server.where()};
  resolver names(loop, how);
  const addresses all = co_await names.resolve("host.example", 80);
  CHECK(all.size() == 2);
}

DNS_TEST("an answer that comes after the deadline goes nowhere") {
  name_responder server;
  server.both = {true, false};
  resolver names = ask(loop, server);
  auto limited = eddy::as_result(eddy::timeout(1s, names.resolve("host.example", 80)));
  const auto late = co_await std::move(limited);
  CHECK(late.error() == std::errc::timed_out);
  server.send_late(server.last().with({"203.0.113.1"}));
  server.answer = gives({"192.0.2.1"});
  const addresses all = co_await names.resolve("host.example", 80);
  CHECK(all == addresses{*address::parse("192.0.2.1:80")});
}

DNS_TEST("a socket that the kernel refuses to watch ends the look-up with the error") {
  name_responder server;
  server.both = {true, false};
  resolver names = ask(loop, server);
  const int next = server.next_descriptor(0);  // that of the socket of c-ares
  const epoll_refusal all(1000, next);
  const std::error_code refused = co_await error_of(names);
  CHECK(refused == std::errc::no_space_on_device);
}

DNS_TEST("a dump names a question that is under way, and programs do not inherit its socket") {
  name_responder server;
  const int next = server.next_descriptor(0);
  resolver names = ask(loop, server);
  const auto asking = eddy::spawn(names.resolve("host.example", 80));
  while (server.log.empty()) co_await eddy::yield();
  CHECK(loop.dump().contains("resolve host.example"));
  CHECK(::fcntl(next, F_GETFD) == FD_CLOEXEC);
}

DNS_TEST("10,000 wrong answers end in an address or in an error") {
  name_responder server;
  server.both = {true, false};
  std::minstd_rand random(7);  // the same in each run
  resolver_options how;
  how.servers = {server.where()};
  how.tries = 1;
  how.timeout = 1ms;
  resolver names(loop, how);
  server.answer = [&](const dns_question& q) {
    answers all;
    for (int i = 0; i < 50; ++i) {
      std::string m = q.with(both);
      const std::size_t changes = random() % 4 + 1;
      for (std::size_t c = 0; c < changes; ++c) {
        m[2 + random() % (m.size() - 2)] = static_cast<char>(random());  // the id stays
      }
      if (random() % 4 == 0) m.resize(random() % m.size());
      all.push_back(std::move(m));
    }
    return all;
  };
  for (int i = 0; i < 200; ++i) {
    const std::error_code failed = co_await error_of(names);
    CHECK((!failed || failed.category() == eddy::resolve_category()));
  }
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "a look-up gives an answer or an error, whichever system call fails" *
                      doctest::skip(!eddy::detail::dns_available())) {
  const std::size_t frames = eddy::frame_count();
  struct fault {
    call kind;
    std::vector<int> errors;
  };
  const std::array faults{
      fault{call::socket, {EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM}},
      fault{call::connect,
            {EACCES, EPERM, EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, EINTR, ENETUNREACH, ETIMEDOUT}},
      fault{call::send_message,
            {EACCES, EAGAIN, ECONNRESET, EINTR, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, EPIPE}},
      fault{call::receive_message, {EAGAIN, ECONNREFUSED, EINTR, ENOMEM, ENOTCONN}},
      fault{call::close, {EIO, EINTR, ENOSPC}},
  };
  std::size_t injected = 0;
  for (const bool by_tcp : {false, true}) {
    for (const auto& [kind, errors] : faults) {
      for (const int error : errors) {
        for (std::size_t k = 1;; ++k) {
          INFO("call ", k, " of kind ", static_cast<int>(kind), " fails with ", error);
          name_responder server;
          server.answer = [by_tcp](const dns_question& q) {
            return answers{!by_tcp || q.by_tcp ? q.with(both) : q.begin(0, 0, true).bytes};
          };
          server.fail(kind, error, k);
          {
            resolver_options how;
            how.servers = {server.where()};
            how.tries = error == EINTR ? 1 : 2;
            // A lost question is asked again, on the real clock.
            if (error != EINTR) how.timeout = 2ms;
            resolver names(loop, how);
            auto asking = eddy::spawn(loop, names.resolve("host.example", 80));
            while (!asking.ready()) loop.run_once();
            const auto found = std::move(asking).take();
            if (error == EINTR) {
              REQUIRE(found.has_value());
              CHECK(found.value().size() == 2);
            }
          }
          CHECK(eddy::frame_count() == frames);
          if (!server.has_failed()) break;
          ++injected;
          REQUIRE(k < 60);
        }
      }
    }
    // One byte and all but one byte at a time.
    for (const std::size_t bytes : {1U, 40U}) {
      name_responder server;
      server.answer = [](const dns_question& q) {
        return answers{q.by_tcp ? q.with(both) : q.begin(0, 0, true).bytes};
      };
      if (by_tcp) server.limit_bytes(bytes);
      resolver names = ask(loop, server);
      auto asking = eddy::spawn(loop, eddy::timeout(1s, names.resolve("host.example", 80)));
      while (!asking.ready()) loop.run_once();
      static_cast<void>(std::move(asking).take());
    }
  }
  MESSAGE(injected, " faults were injected and survived");
}

TEST_CASE("lines of /etc/nsswitch.conf tell which names c-ares finds as the system does") {
  const auto suffices = [](std::string_view services, std::string_view host = "host.example") {
    return eddy::detail::dns_suffices(services, host, "me");
  };
  CHECK(suffices("files dns"));
  CHECK(suffices(" dns\tfiles \n"));
  CHECK(!suffices("files"));
  CHECK(!suffices(""));
  CHECK(!suffices("files sss dns"));
  CHECK(!suffices("files resolve [!UNAVAIL=return] dns"));
  CHECK(!suffices("files [NOTFOUND=return] dns"));
  CHECK(suffices("files mdns4_minimal [NOTFOUND=return] dns"));
  CHECK(!suffices("files mdns4_minimal [NOTFOUND=return] dns", "printer.LOCAL"));
  CHECK(!suffices("files mdns_minimal dns", "printer.local."));
  CHECK(suffices("files mdns_minimal dns", "local"));
  CHECK(!suffices("files mdns4 dns"));
  CHECK(suffices("files myhostname dns"));
  CHECK(!suffices("files myhostname dns", "ME"));
  CHECK(!suffices("files myhostname dns", "_gateway"));
}

TEST_CASE("the line of hosts in /etc/nsswitch.conf is found, and without one DNS suffices") {
  const temporary_directory directory;
  const std::string path = directory / "nsswitch.conf";
  const auto asks = [&](std::string_view text) {
    std::ofstream(path) << text;
    return eddy::detail::file_asks_dns(path.c_str(), "host.example", "me");
  };
  CHECK(asks("passwd: sss\nhosts: files dns # sss\n"));
  CHECK(asks("hosts:files dns"));
  CHECK(!asks("# hosts: files dns\n  hosts:   files sss dns\n"));
  CHECK(asks("passwd: files\n"));
  CHECK(eddy::detail::file_asks_dns((path + "2").c_str(), "host.example", "me"));
}

namespace {

/// A name server that outlives the tasks, and a question to it.
struct asks {
  explicit asks(trial& t) : of(t) {
    server.answer = [](const dns_question& q) {
      return answers{q.by_tcp ? q.with(both) : q.begin(0, 0, true).bytes};
    };
    how.servers = {server.where()};
  }
  task<> work() {
    const trial::part held(of);
    resolver names(of.loop(), how);
    auto finding = eddy::timeout(1s, names.resolve("host.example", 80));
    const auto found = co_await eddy::as_result(std::move(finding));
    if (!found && found.error() != std::errc::timed_out) {
      throw std::system_error(found.error());
    }
  }
  trial& of;
  name_responder server;
  resolver_options how;
};

}  // namespace

TEST_CASE("resolver: a question to a name server, ended at every point" *
          doctest::skip(!eddy::detail::dns_available())) {
  check_report(eddy::every_point<asks>());
  check_report(eddy::every_point<asks>(1));
}
