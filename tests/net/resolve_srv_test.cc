// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/resolve_srv.h>.
#include <eddy/net/resolve_srv.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/detail/name_steps.h>
#include <eddy/net/resolve.h>
#include <eddy/net/resolver.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/name_responder.h"

using eddy::resolve_error;
using eddy::resolver;
using eddy::resolver_options;
using eddy::result;
using eddy::srv_record;
using answers = name_responder::answers;
using records = std::vector<srv_record>;

#define DNS_TEST(name) ASYNC_TEST(name* doctest::skip(!eddy::detail::dns_available()))

namespace {

/// A system whose random numbers are those of the test.
class chance : public failing_system {
public:
  explicit chance(std::vector<std::uint64_t> numbers) : numbers_(std::move(numbers)) {}
  std::uint64_t random() override { return numbers_.at(next_++); }

private:
  std::vector<std::uint64_t> numbers_;
  std::size_t next_ = 0;
};

srv_record server(std::string host, std::uint16_t priority, std::uint16_t weight,
                  std::uint16_t port = 80) {
  srv_record r;
  r.host = std::move(host);
  r.priority = priority;
  r.weight = weight;
  r.port = port;
  return r;
}

std::string hosts(const records& all) {
  std::string line;
  for (const srv_record& r : all) line += r.host;
  return line;
}

std::string order(records all, std::vector<std::uint64_t> numbers) {
  const chance by(std::move(numbers));
  eddy::detail::order_services(all);
  return hosts(all);
}

resolver ask(eddy::event_loop& loop, const name_responder& responder, std::size_t cache = 0) {
  resolver_options how;
  how.servers = {responder.where()};
  how.cache_size = cache;
  return resolver(loop, how);
}

}  // namespace

TEST_CASE("servers are ordered by priority, whatever their weights and order") {
  CHECK(order({server("c", 30, 9), server("a", 10, 0), server("b", 20, 1)}, {0, 0, 0}) == "abc");
  CHECK(order({}, {}).empty());
}

TEST_CASE("servers of one priority are chosen by chance, as their weights say") {
  const records all = {server("a", 1, 10), server("b", 1, 30), server("z", 1, 0)};
  // The one of weight zero is first in the list, so it is chosen if the random number is zero.
  CHECK(order(all, {0, 0, 0}) == "zab");
  CHECK(order(all, {1, 0, 0}) == "azb");
  CHECK(order(all, {10, 1, 0}) == "abz");
  CHECK(order(all, {11, 0, 0}) == "bza");
  CHECK(order(all, {40, 10, 0}) == "baz");
  // The number is taken modulo the sum and one.
  CHECK(order(all, {41, 0, 0}) == "zab");
}

TEST_CASE("the weights of many servers do not overflow") {
  records all;
  for (int i = 0; i < 1000; ++i) all.push_back(server("x", 1, 65535));
  all.push_back(server("y", 0, 0));
  CHECK(order(all, std::vector<std::uint64_t>(1001, UINT64_MAX)).starts_with("yx"));
}

DNS_TEST("a service has the servers of its SRV records, in their order") {
  name_responder responder;
  responder.answer = [](const dns_question& q) {
    return answers{
        q.with_services({server("two.example", 20, 5, 8080), server("one.example", 10, 1, 443)})};
  };
  resolver names = ask(loop, responder);
  const records all = co_await names.resolve_srv("_http._tcp.host.example");
  REQUIRE(all.size() == 2);
  CHECK(all[0] == server("one.example", 10, 1, 443));
  CHECK(all[1] == server("two.example", 20, 5, 8080));
  CHECK(responder.log == std::vector<std::string>{"SRV _http._tcp.host.example"});
}

DNS_TEST("a service without a server is the error no_service") {
  name_responder responder;
  resolver names = ask(loop, responder);
  responder.answer = [](const dns_question& q) {
    return answers{q.with_services({server("", 0, 0)})};
  };
  const auto root = co_await eddy::as_result(names.resolve_srv("_http._tcp.host.example"));
  CHECK((root.error() == resolve_error::no_service));
  responder.answer = [](const dns_question& q) { return answers{q.error(0)}; };
  const auto empty = co_await eddy::as_result(names.resolve_srv("_http._tcp.host.example"));
  CHECK((empty.error() == resolve_error::no_service));
  responder.answer = [](const dns_question& q) { return answers{q.error(3)}; };
  std::string words;
  try {
    co_await names.resolve_srv("_http._tcp.no.example");
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "resolve the SRV records of _http._tcp.no.example, asked " +
                     responder.where().to_string() + ": name not found");
}

DNS_TEST("an SRV record that is too short or loops is an error") {
  name_responder responder;
  resolver names = ask(loop, responder);
  for (const bool loops : {false, true}) {
    responder.answer = [loops](const dns_question& q) {
      dns_message m = q.begin(1);
      dns_message data;
      data.number(1, 2).number(1, 2);
      if (loops) data.number(80, 2).pointer(static_cast<unsigned>(m.bytes.size()) + 18);
      m.pointer(dns_question::own_name).record(dns_question::srv, 60, data.bytes);
      return answers{m.bytes};
    };
    const auto r = co_await eddy::as_result(names.resolve_srv("_http._tcp.host.example"));
    INFO(loops);
    CHECK((r.error() == resolve_error::failed));
  }
}

DNS_TEST("SRV records are kept for the shortest of their TTLs, and ordered anew for each call") {
  name_responder responder;
  responder.answer = [](const dns_question& q) {
    return answers{q.with_services({server("a", 1, 10), server("b", 1, 30)}, 60)};
  };
  resolver names = ask(loop, responder, 10);
  const records first = co_await names.resolve_srv("_http._tcp.host.example");
  CHECK(hosts(first) == "ab");
  responder.next_random = 11;
  const records second = co_await names.resolve_srv("_HTTP._tcp.host.example");
  CHECK(hosts(second) == "ba");
  CHECK(responder.log.size() == 1);
  co_await eddy::sleep(std::chrono::seconds(60));
  co_await names.resolve_srv("_http._tcp.host.example");
  CHECK(responder.log.size() == 2);
}

DNS_TEST("a TTL with the highest bit set is zero, and the answer is not kept") {
  name_responder responder;
  responder.answer = [](const dns_question& q) {
    return answers{q.with_services({server("a", 1, 10)}, 0x80000001)};
  };
  resolver names = ask(loop, responder, 10);
  co_await names.resolve_srv("_http._tcp.host.example");
  CHECK(names.cached() == 0);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a resolve_srv with a handler gives the same results") {
  name_responder responder;
  responder.answer = [](const dns_question& q) {
    return answers{q.with_services({server("a", 1, 10)})};
  };
  std::optional<result<records>> found;
  const auto note = [&](result<records> r) { found = std::move(r); };
  if (eddy::detail::dns_available()) {
    resolver names = ask(loop, responder);
    const eddy::pending_operation p = names.resolve_srv("_http._tcp.host.example", note);
    while (!found) loop.run_once();
    CHECK(hosts(found->value()) == "a");
  } else {
    const eddy::pending_operation p = eddy::resolve_srv(loop, "_http._tcp.host.example", note);
    while (!found) loop.run_once();
    CHECK(found->error() == std::errc::not_supported);
  }
}

ASYNC_TEST("a name with a zero in it has no service") {
  const auto r = co_await eddy::as_result(eddy::resolve_srv(std::string("a\0b", 3)));
  CHECK((r.error() == resolve_error::not_found));
}
