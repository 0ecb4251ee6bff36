// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <eddy/loop/timer_node.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/wake_up.h>
#include <eddy/net/resolve_srv.h>

namespace eddy::detail {

/// Whether this library was built with c-ares.
[[nodiscard]] bool dns_available() noexcept;

/// How name servers are asked. Empty and zero members are as the system says: `limits_of`.
struct dns_options {
  dns_options() = default;

  std::vector<address> servers;
  std::chrono::milliseconds timeout{0};
  int tries = 0;
};

/// The answer to a question.
struct dns_answer {
  /// An allocation failed, so that parts of the answer may be missing.
  [[nodiscard]] bool lacks_memory() const noexcept { return error == std::errc::not_enough_memory; }

  bool complete = false;
  std::error_code error;
  std::vector<address> addresses;    // in the order in which they should be tried
  std::vector<srv_record> services;  // in any order
  std::chrono::seconds lifetime{0};  // the shortest TTL; zero for what the hosts file has
};

/// Questions that c-ares asks without a thread: to /etc/hosts and to name servers, as
/// /etc/nsswitch.conf says.
///
/// Each query has a channel of c-ares of its own, so that it can be cancelled by itself, and so
/// that a change of /etc/resolv.conf holds for the next query. c-ares makes its system calls
/// through the seam. It calls back only from the loop or from `ask…`, and no callback of it runs
/// user code: a query notes a `wake_up`. So nobody destroys a channel inside of a callback, which
/// c-ares would not survive.
///
/// c-ares measures its timeouts on the real clock, also on a loop with a `manual_clock`. There, a
/// timerfd waits for them, because the loop's timers know only the time of that clock.
class dns_query {
public:
  enum class family : std::uint8_t { any, v4, v6 };
  enum class source : std::uint8_t { hosts_and_dns, hosts };

  /// `happened` is noted for each answer.
  dns_query(event_loop& loop, wake_up& happened) noexcept;
  dns_query(const dns_query&) = delete;
  dns_query& operator=(const dns_query&) = delete;
  ~dns_query();

  /// Reads the configuration of the system.
  /// Errors: `not_enough_memory`, or `invalid_argument` for a server with a scope.
  [[nodiscard]] std::error_code open(const dns_options& how, source from);

  /// Whether /etc/hosts is read before name servers are asked, as is usual.
  [[nodiscard]] bool hosts_first() const noexcept { return hosts_first_; }

  /// Asks for the addresses of `host`. The answer goes to `answers[slot]`. It is `not_found` if
  /// the source is `hosts`, which does not have the name.
  void ask_addresses(std::size_t slot, const std::string& host, std::uint16_t port, family which);
  /// Asks for the SRV records of `name`, which is not completed by a search domain.
  void ask_services(std::size_t slot, const std::string& name);

  /// Whether a name server was asked, or could not be reached.
  [[nodiscard]] bool asked() const noexcept;

  [[nodiscard]] dns_answer& answer(std::size_t slot) noexcept { return answers_[slot]; }

private:
  struct implementation;

  [[nodiscard]] std::error_code note_order() noexcept;

  event_loop* loop_;
  wake_up* happened_;
  std::array<dns_answer, 2> answers_;
  std::unique_ptr<implementation> inside_;
  bool hosts_first_ = false;
};

}  // namespace eddy::detail
