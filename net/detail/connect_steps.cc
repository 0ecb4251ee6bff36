// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/connect_steps.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <new>
#include <system_error>
#include <utility>

#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/timer.h>
#include <eddy/net/detail/connect_race.h>
#include <eddy/net/detail/name_steps.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/resolve.h>

namespace eddy::detail {

namespace {

using connection = reported<tcp_stream>;
using family = dns_query::family;

// How long the answer for IPv4 waits for that for IPv6: RFC 8305, 3.
constexpr std::chrono::milliseconds resolution_delay{50};

connection winner_of(connect_race& race) {
  stream_socket winner = race.take_winner();
  if (winner.get() == nullptr) return std::unexpected(race.why());
  return stream_access::make<tcp_stream>(std::move(winner));
}

/// Whether /etc/hosts has the name.
/// Errors: `std::bad_alloc`.
bool is_in_hosts(event_loop& loop, const name_plan& plan, const dns_options& servers) {
  wake_up unused;
  dns_query query(loop, unused);
  if (const std::error_code error = query.open(servers, dns_query::source::hosts)) {
    if (error == std::errc::not_enough_memory) throw std::bad_alloc();
    return false;
  }
  query.ask_addresses(0, plan.name, 0, family::any);
  const dns_answer& answer = query.answer(0);
  if (answer.lacks_memory()) throw std::bad_alloc();
  return answer.complete && !answer.error;
}

/// Adds the addresses of c-ares to a race as they come.
class answers {
public:
  answers(event_loop& loop, wake_up& happened) noexcept
      : loop_(&loop), happened_(&happened), query_(loop, happened), patience_(loop) {}

  std::error_code ask(const std::string& host, std::uint16_t port, const dns_options& servers) {
    const name_plan plan(host);
    port_ = port;
    local_ = plan.local;
    if (const std::error_code error = query_.open(servers, plan.from)) return error;
    // The hosts file has the whole answer or nothing, which only one question for all shows.
    const bool asks_servers = plan.from == dns_query::source::hosts_and_dns;
    const bool apart = plan.which == family::any && asks_servers && query_.hosts_first() &&
                       !is_in_hosts(*loop_, plan, servers);
    questions_ = apart ? 2 : 1;
    query_.ask_addresses(0, plan.name, port, apart ? family::v6 : plan.which);
    if (apart) query_.ask_addresses(1, plan.name, port, family::v4);
    return {};
  }

  /// Gives the race the answers that have come.
  void add_to(connect_race& race) {
    if (take(0)) race.add(query_.answer(0).addresses);
    if (questions_ == 2 && (taken_[0] || waited_)) {
      if (take(1)) race.add(query_.answer(1).addresses);
    } else if (questions_ == 2 && query_.answer(1).complete && !query_.answer(1).error &&
               !patience_.active()) {
      patience_.start(resolution_delay, [this] {
        waited_ = true;
        happened_->note();
      });
    }
    if (!ended_ && taken_[0] && (taken_[1] || questions_ == 1)) {
      ended_ = true;
      patience_.stop();
      race.end_of_addresses();
    }
  }

  /// The reason why there is no address. That one family has none tells less than the other's
  /// error.
  [[nodiscard]] failure why(std::string doing, const dns_options& servers) {
    const std::error_code first = query_.answer(0).error;
    const bool tells = questions_ == 1 || first != resolve_error::no_address;
    return dns_failure(tells ? first : query_.answer(1).error, std::move(doing), query_, servers);
  }

private:
  /// Whether an answer has come and was not taken yet.
  /// Errors: `std::bad_alloc`, also if the answer lacks addresses for that reason.
  bool take(std::size_t slot) {
    dns_answer& a = query_.answer(slot);
    if (!a.complete || taken_[slot]) return false;
    if (a.lacks_memory()) throw std::bad_alloc();
    taken_[slot] = true;
    if (local_) keep_loopback(a.addresses, port_);
    return true;
  }

  event_loop* loop_;
  wake_up* happened_;
  dns_query query_;
  timer patience_;
  std::uint16_t port_ = 0;
  std::size_t questions_ = 0;
  std::array<bool, 2> taken_{};
  bool local_ = false;
  bool waited_ = false;
  bool ended_ = false;
};

task<connection> connect_by_dns(std::string host, std::uint16_t port, socket_options how,
                                dns_options servers) {
  event_loop& loop = current_loop("connect");
  const std::string doing = words_of_connect(host, port);
  wake_up happened;
  answers found(loop, happened);
  if (const std::error_code error = found.ask(host, port, servers)) {
    co_return std::unexpected(failure(error, doing));
  }
  connect_race race(loop, happened, doing, how);
  for (found.add_to(race); !race.over(); found.add_to(race)) {
    race.go_on();
    co_await race.wait();
  }
  if (!race.had_addresses()) {
    co_return std::unexpected(found.why(doing, servers));
  }
  co_return winner_of(race);
}

}  // namespace

std::string words_of_connect(const std::string& host, std::uint16_t port) {
  return text({"connect to ", shown_host(host), ":", port});
}

task<connection> connect_to_any(std::string doing, std::vector<address> all, socket_options how) {
  wake_up happened;
  connect_race race(current_loop("connect"), happened, std::move(doing), how);
  race.add(all);
  race.end_of_addresses();
  while (!race.over()) {
    race.go_on();
    co_await race.wait();
  }
  co_return winner_of(race);
}

task<connection> connect_to_name(std::string host, std::uint16_t port, socket_options how,
                                 dns_options servers) {
  const bool literal = literal_address(host, port).has_value();
  if (!literal && !is_no_name(host) && asks_dns(host, servers)) {
    auto connecting = connect_by_dns(std::move(host), port, how, std::move(servers));
    auto made = co_await std::move(connecting);
    co_return made;
  }
  std::string doing = words_of_connect(host, port);
  auto finding = find_addresses(std::move(host), port, std::move(servers));
  auto found = co_await std::move(finding);
  // No server of a resolver was asked.
  if (!found) co_return std::unexpected(failure(found.error().error, std::move(doing)));
  auto connecting = connect_to_any(std::move(doing), std::move(found->all), how);
  auto made = co_await std::move(connecting);
  co_return made;
}

}  // namespace eddy::detail
