// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_wire.h>

#include <algorithm>

#include <eddy/loop/detail/block_pool.h>

namespace eddy::detail {

namespace {

using host = simulated_network::host;

simulated_end& sender_of(const simulated_packet& packet) noexcept {
  return packet.connection->ends[1 - packet.to];
}

}  // namespace

simulated_wire::simulated_wire(simulated_context& context, receiver& to) noexcept
    : context_(context), receiver_(to), timer_(*this) {}

void simulated_wire::send(simulated_packet packet, duration pause) {
  simulated_end& sender = sender_of(packet);
  if (packet.connection->local) return receiver_.arrive(packet);
  if (blocked(*packet.connection)) return keep_back(std::move(packet));
  const duration time = plus(time_point(context_.delay()), pause).time_since_epoch();
  if (time == duration::zero() && sender.under_way == 0) return receiver_.arrive(packet);
  sender.last_arrival = std::max(plus(context_.now(), time), sender.last_arrival);
  ++sender.under_way;
  under_way_.emplace(simulated_moment(sender.last_arrival, events_++), std::move(packet));
  set_timer();
}

void simulated_wire::keep_back(simulated_packet&& packet) {
  using kind = simulated_packet::kind;
  simulated_end& sender = sender_of(packet);
  if (sender.socket != nullptr && !sender.alarm &&
      (packet.what == kind::bytes || packet.what == kind::end)) {
    set_alarm(packet.connection, 1 - packet.to,
              sender.socket->user_timeout.value_or(context_.options().send_limit));
  }
  kept_back_.push_back(std::move(packet));
}

void simulated_wire::set_alarm(const std::shared_ptr<simulated_connection>& connection,
                               unsigned side, duration time) {
  simulated_end& end = connection->ends[side];
  clear_alarm(end);
  end.alarm.emplace(plus(context_.now(), time), events_++);
  alarms_.emplace(*end.alarm, std::pair(connection, side));
  set_timer();
}

void simulated_wire::clear_alarm(simulated_end& end) {
  if (!end.alarm) return;
  alarms_.erase(*std::exchange(end.alarm, std::nullopt));
  set_timer();
}

void simulated_wire::set_timer() {
  if (under_way_.empty() && alarms_.empty()) return timer_.clear();
  time_point next = time_point::max();
  if (!under_way_.empty()) next = under_way_.begin()->first.first;
  if (!alarms_.empty()) next = std::min(next, alarms_.begin()->first.first);
  if (!timer_.pending() || timer_.deadline() != next) timer_.set(next);
}

void simulated_wire::run() {
  const failing_allocations::pardon own;
  const time_point now = context_.now();
  while (!under_way_.empty() && under_way_.begin()->first.first <= now) {
    const simulated_packet packet = std::move(under_way_.begin()->second);
    under_way_.erase(under_way_.begin());
    --sender_of(packet).under_way;
    receiver_.arrive(packet);
  }
  while (!alarms_.empty() && alarms_.begin()->first.first <= now) {
    const auto [connection, side] = alarms_.begin()->second;
    alarms_.erase(alarms_.begin());
    connection->ends[side].alarm.reset();
    receiver_.expire(*connection, side);
  }
  set_timer();
}

// ---- Hosts

simulated_wire::hosts simulated_wire::pair_of(const address& a, const address& b) noexcept {
  return std::minmax({a.with_port(0), b.with_port(0)});
}

host simulated_wire::of(const address& at) const {
  const auto found = hosts_.find(at.with_port(0));
  return found == hosts_.end() ? host::reachable : found->second;
}

bool simulated_wire::blocked(const simulated_connection& connection) const {
  const address& a = connection.ends[0].name;
  const address& b = connection.ends[1].name;
  const bool answers = !connection.ends[0].established;  // that a host is unreachable
  const auto takes = [&](host how) {
    return how == host::reachable || (answers && how == host::unreachable);
  };
  return !takes(of(a)) || !takes(of(b)) || partitions_.contains(pair_of(a, b));
}

void simulated_wire::sort_again() {
  for (auto at = under_way_.begin(); at != under_way_.end();) {
    if (!blocked(*at->second.connection)) {
      ++at;
      continue;
    }
    --sender_of(at->second).under_way;
    keep_back(std::move(at->second));
    at = under_way_.erase(at);
  }
  std::vector<simulated_packet> before;
  before.swap(kept_back_);
  for (const simulated_packet& packet : before) {
    simulated_end& sender = sender_of(packet);
    if (sender.established && !blocked(*packet.connection)) clear_alarm(sender);
  }
  for (simulated_packet& packet : before) send(std::move(packet));
  set_timer();
}

void simulated_wire::set_host(const address& at, host how) {
  hosts_[at.with_port(0)] = how;
  sort_again();
}

void simulated_wire::partition(const address& a, const address& b) {
  partitions_.insert(pair_of(a, b));
  sort_again();
}

void simulated_wire::heal(const address& a, const address& b) {
  partitions_.erase(pair_of(a, b));
  sort_again();
}

void simulated_wire::heal() {
  partitions_.clear();
  sort_again();
}

}  // namespace eddy::detail
