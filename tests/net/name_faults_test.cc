// SPDX-License-Identifier: BSD-2-Clause
// Every system call of look-ups and of connects to names, with each of its errors.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/resolve_srv.h>
#include <eddy/net/resolver.h>
#include <eddy/net/tcp_stream.h>

#include "support/fault_scenario.h"
#include "support/faults.h"
#include "support/name_responder.h"
#include "support/planned_hosts.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::task;
using eddy::tcp_stream;

namespace {

/// Connects to a name whose addresses are silent, refusing and good.
struct races_addresses : scenario {
  using system = planned_hosts;
  races_addresses(faulty_run& r, system& s) : scenario(r), hosts(s) {
    hosts.add("2001:db8::1");
    hosts.add("192.0.2.1", ECONNREFUSED);
    hosts.add("2001:db8::2");
    hosts.add("192.0.2.2");
    hosts.accepts("2001:db8::2");
    hosts.accepts("192.0.2.2");
  }
  task<> work() {
    auto connecting = eddy::connect("host.example", 80, {.address_limit = 5s});
    const tcp_stream s = co_await std::move(connecting);
    run.expect(s.open(), "a connect gave a stream that is not open");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static std::optional<bool> harmless(const fault& f) {
    // The next address is tried.
    if (f.of->kind == call::connect || f.of->kind == call::socket) return !f.for_good;
    return {};
  }
  static constexpr std::size_t shapes = 4;
  planned_hosts& hosts;
};

/// Asks a name server for both families, by UDP or, because the answer is cut off, by TCP.
struct resolves_names : scenario {
  using system = name_responder;
  resolves_names(faulty_run& r, name_responder& s)
      : scenario(r), server(s), by_tcp(r.option(2) != 0) {
    server.answer = [this](const dns_question& q) {
      if (by_tcp && !q.by_tcp) return name_responder::answers{q.begin(0, 0, true).bytes};
      return name_responder::answers{q.with({"192.0.2.1", "2001:db8::1"})};
    };
  }
  task<> work() {
    eddy::resolver_options how;
    how.servers = {server.where()};
    how.cache_size = 10;
    eddy::resolver names(run.loop, how);
    for (int i = 0; i < 2; ++i) {
      auto resolving = names.resolve("host.example", 443);
      std::vector<address> all = co_await std::move(resolving);
      std::ranges::sort(all);
      const std::vector<address> expected{*address::parse("192.0.2.1:443"),
                                          *address::parse("[2001:db8::1]:443")};
      run.expect(!all.empty() && std::ranges::includes(expected, all),
                 "a name has other addresses");
      // The addresses of one family, if the questions for the other had no answer.
      if (all != expected) run.tell(std::make_error_code(std::errc::timed_out));
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static std::optional<bool> harmless(const fault& f) {
    // c-ares takes a question that it cannot send for one without an answer, and asks only so
    // often.
    if (f.of->kind == call::send_message && f.error == EAGAIN) return !f.for_good;
    return {};
  }
  static constexpr std::size_t shapes = 4;
  name_responder& server;
  bool by_tcp;
};

/// Asks for the servers of a service. The name server also sends an answer to another question, and
/// may cut its answer off, so that TCP is used.
struct finds_a_service : scenario {
  using system = name_responder;
  finds_a_service(faulty_run& r, name_responder& s)
      : scenario(r), server(s), by_tcp(r.option(2) != 0), strays(r.option(2) != 0) {
    expected.resize(2);
    expected[0].host = "one.example";
    expected[0].port = 443;
    expected[0].priority = 10;
    expected[1].host = "two.example";
    expected[1].port = 8443;
    expected[1].priority = 20;
    server.answer = [this](const dns_question& q) {
      name_responder::answers all;
      if (strays && !q.by_tcp) {
        dns_question other = q;
        other.id ^= 1;
        all.push_back(other.error(3));
      }
      all.push_back(by_tcp && !q.by_tcp ? q.begin(0, 0, true).bytes : q.with_services(expected));
      return all;
    };
  }
  task<> work() {
    eddy::resolver_options how;
    how.servers = {server.where()};
    how.cache_size = 10;
    eddy::resolver names(run.loop, how);
    for (int i = 0; i < 2; ++i) {
      auto resolving = names.resolve_srv("_https._tcp.host.example");
      const std::vector<eddy::srv_record> all = co_await std::move(resolving);
      run.expect(all == expected, "a service has other servers");
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static std::optional<bool> harmless(const fault& f) { return resolves_names::harmless(f); }
  static constexpr std::size_t shapes = 4;
  name_responder& server;
  std::vector<eddy::srv_record> expected;
  bool by_tcp;
  bool strays;
};

/// Connects to a name of two families, the first of which is silent.
struct connects_by_dns : scenario {
  using system = planned_network<name_responder>;
  connects_by_dns(faulty_run& r, system& s) : scenario(r), net(s) {
    net.add_host("2001:db8::1");
    net.add_host("192.0.2.1");
    net.accepts("192.0.2.1");
    net.answer = [](const dns_question& q) {
      return name_responder::answers{q.with({"192.0.2.1", "2001:db8::1"})};
    };
  }
  task<> work() {
    eddy::resolver_options how;
    how.servers = {net.where()};
    eddy::resolver names(run.loop, how);
    auto connecting = names.connect("host.example", 80, {.address_limit = 5s});
    const tcp_stream s = co_await std::move(connecting);
    run.expect(s.peer_address().is_v4(), "a connect gave another stream");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  system& net;
  static std::optional<bool> harmless(const fault& f) { return resolves_names::harmless(f); }
  static constexpr std::size_t shapes = 4;
};

}  // namespace

FAULTS_TEST(races_addresses, "a race of addresses survives every fault")

TEST_CASE("look-ups by c-ares survive every fault" *
          doctest::skip(!eddy::detail::dns_available())) {
  all_faults += faults<resolves_names>("resolves_names").run();
  all_faults += faults<finds_a_service>("finds_a_service").run();
  all_faults += faults<connects_by_dns>("connects_by_dns").run();
}

FAULTS_TOTAL(4, 5'000, "the scenarios of names survive 5,000 faults")
