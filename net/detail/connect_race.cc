// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/connect_race.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

// A shorter delay would burden the network: RFC 8305, 5.
constexpr std::chrono::milliseconds shortest_delay{10};

}  // namespace

connect_race::connect_race(event_loop& loop, wake_up& happened, std::string doing,
                           const socket_options& how)
    : loop_(&loop), happened_(&happened), doing_(std::move(doing)), how_(how), delay_(loop) {}

void connect_race::add(std::span<const address> more) {
  for (const address& a : more) {
    if (!v6_first_) v6_first_ = a.is_v6();
    next_[a.is_v6() ? 1 : 0].push_back(a);
  }
  happened_->note();
}

address connect_race::take_next() noexcept {
  const bool wanted = v6_last_ ? !*v6_last_ : v6_first_.value_or(true);
  const bool v6 = next_[wanted ? 1 : 0].empty() ? !wanted : wanted;
  v6_last_ = v6;
  std::deque<address>& from = next_[v6 ? 1 : 0];
  const address taken = from.front();
  from.pop_front();
  return taken;
}

void connect_race::go_on() {
  if (winner_ || !may_start_ || !has_next()) return;
  may_start_ = false;
  attempts_.emplace_back(take_next());
  start(attempts_.back());
}

void connect_race::start(attempt& a) {
  auto begun = begin_connect(*loop_, a.to, how_);
  if (!begun) return fail(a, begun.error());
  ++running_;
  a.socket = std::move(begun->socket);
  if (!begun->under_way) return completed(a, {});
  if (how_.address_limit) limit(a);
  delay_.start(std::max(how_.attempt_delay, shortest_delay), [this] {
    may_start_ = true;
    happened_->note();
  });
  callback_operation<connect_call>::start(
      *a.socket.get(), connect_call(),
      [this, &a](result<void> connected) { completed(a, connected); });
}

void connect_race::limit(attempt& a) {
  a.limit.emplace(*loop_);
  a.limit->start(*how_.address_limit, [this, &a] {
    // Due timers run before ready descriptors. After a SIGSTOP of the process, the connection may
    // have been made in time.
    if (os().poll(a.socket.get()->descriptor(), POLLOUT) > 0) return;
    completed(a, std::unexpected(std::make_error_code(std::errc::timed_out)));
  });
}

void connect_race::completed(attempt& a, result<void> how) {
  --running_;
  if (a.limit) a.limit->stop();
  if (!how) return fail(a, failed_attempt(how.error()));
  if (met_itself(*a.socket.get())) {
    return fail(a, failed_attempt(std::make_error_code(std::errc::connection_refused)));
  }
  win(a);
}

void connect_race::win(attempt& a) noexcept {
  winner_ = true;
  winner_socket_ = std::move(a.socket);
  delay_.stop();
  for (attempt& loser : attempts_) {
    loser.socket.close();
    if (loser.limit) loser.limit->stop();
  }
  running_ = 0;
  happened_->note();
}

void connect_race::fail(attempt& a, const failed_attempt& why) {
  a.socket.close();
  a.failed = why;
  may_start_ = true;
  happened_->note();
}

failure connect_race::why() const {
  std::string tried;
  for (const attempt& a : attempts_) {
    tried += words_of_attempt(a.to, a.failed.option);
    // The error of the last address follows the whole sentence.
    if (&a != &attempts_.back()) add_text(tried, {" (", a.failed.error.message(), "), "});
  }
  const bool names_it = attempts_.size() == 1 && doing_ == "connect to " + tried;
  return {attempts_.back().failed.error, names_it ? doing_ : text({doing_, ", tried ", tried})};
}

std::string connect_race::describe() const {
  std::string words = doing_;
  const char* before = ", trying ";
  for (const attempt& a : attempts_) {
    if (a.socket.get() == nullptr) continue;
    add_text(words, {before, a.socket.get()->description()});
    before = ", ";
  }
  return words;
}

}  // namespace eddy::detail
