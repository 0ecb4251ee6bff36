// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/resolver.h>

#include <algorithm>
#include <concepts>
#include <expected>
#include <list>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <eddy/future/adapt.h>
#include <eddy/future/future.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/connect_steps.h>
#include <eddy/net/detail/name_steps.h>
#include <eddy/net/detail/wake_up.h>

namespace eddy {

namespace detail {

namespace {

template <class T>
class question;

}  // namespace

/// The answers that are kept, and the questions that are under way.
class resolver_state {
public:
  resolver_state(event_loop& on, resolver_options&& how)
      : loop_(&on), cache_size_(how.cache_size), shares_(how.share_questions) {
    servers_.servers = std::move(how.servers);
    servers_.timeout = how.timeout;
    servers_.tries = how.tries;
  }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }
  [[nodiscard]] const dns_options& servers() const noexcept { return servers_; }
  [[nodiscard]] bool shares() const noexcept { return shares_; }
  [[nodiscard]] bool keeps() const noexcept { return cache_size_ != 0; }

  /// The answer that was kept, or null. It is valid until the next call.
  template <class T>
  [[nodiscard]] const std::vector<T>* kept_answer(const std::string& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    const auto at = found->second;
    if (at->until <= loop_->now()) {
      index_.erase(found);
      kept_.erase(at);
      return nullptr;
    }
    kept_.splice(kept_.begin(), kept_, at);
    return &std::get<std::vector<T>>(at->all);
  }

  template <class T>
  void keep(const std::string& key, const found_names<T>& found) {
    if (!keeps() || found.lifetime.count() <= 0) return;
    answer made{key, loop_->now() + found.lifetime, {}};
    std::get<std::vector<T>>(made.all) = found.all;
    kept_.push_front(std::move(made));
    try {
      const auto [entry, is_new] = index_.try_emplace(key, kept_.begin());
      if (!is_new) kept_.erase(std::exchange(entry->second, kept_.begin()));
    } catch (...) {
      kept_.pop_front();
      throw;
    }
    if (kept_.size() <= cache_size_) return;
    index_.erase(kept_.back().key);
    kept_.pop_back();
  }

  void clear() noexcept {
    index_.clear();
    kept_.clear();
  }
  [[nodiscard]] std::size_t size() const noexcept { return kept_.size(); }

  /// The question that is under way, or null.
  template <class T>
  [[nodiscard]] std::shared_ptr<question<T>> question_of(const std::string& key) {
    const auto found = under_way<T>().find(key);
    return found == under_way<T>().end() ? nullptr : found->second.lock();
  }
  /// The questions of one kind that are under way.
  template <class T>
  [[nodiscard]] auto& under_way() noexcept {
    return std::get<std::unordered_map<std::string, std::weak_ptr<question<T>>>>(under_way_);
  }

private:
  template <class T>
  using questions = std::unordered_map<std::string, std::weak_ptr<question<T>>>;

  struct answer {
    std::string key;
    time_point until;
    std::tuple<std::vector<address>, std::vector<srv_record>> all;  // one of them is used
  };

  event_loop* loop_;
  dns_options servers_;
  std::size_t cache_size_;
  bool shares_;
  std::list<answer> kept_;  // the one that was used last is the first
  std::unordered_map<std::string, std::list<answer>::iterator> index_;
  std::tuple<questions<address>, questions<srv_record>> under_way_;
};

namespace {

using state_pointer = std::shared_ptr<resolver_state>;

/// Aborts the program unless the running loop is the resolver's.
void expect_loop(const resolver_state& state) noexcept {
  if (event_loop::current() == &state.loop()) return;
  state.loop().check_thread();
  misuse("a resolver was awaited on another loop than its own");
}

template <class T>
std::string key_of(const std::string& name) {
  std::string key(1, std::same_as<T, address> ? 'a' : 's');
  key += name;
  for (char& c : key) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return key;
}

template <class T>
task<reported<found_names<T>>> find(std::string name, dns_options servers) {
  if constexpr (std::same_as<T, address>) {
    return find_addresses(std::move(name), 0, std::move(servers));
  } else {
    return find_services(std::move(name), std::move(servers));
  }
}

/// A question that several operations share. Those that wait for its answer own it.
template <class T>
class question {
public:
  question(state_pointer state, std::string key) noexcept
      : state_(std::move(state)), key_(std::move(key)) {}
  question(const question&) = delete;
  question& operator=(const question&) = delete;
  ~question() {
    if (!complete()) forget();
  }

  void start(std::string name) {
    work_.emplace(spawn(state_->loop(), ask(*this, std::move(name))));
  }
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  /// The answer. Errors: `std::bad_alloc` if there was no memory for it.
  [[nodiscard]] const reported<found_names<T>>& answer() const {
    if (!answer_) throw std::bad_alloc();
    return *answer_;
  }

  /// Wakes one coroutine when the answer has come.
  struct waiter : list_node {
    explicit waiter(question& q) noexcept { q.waiting_.push_back(*this); }
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;
    ~waiter() { unlink(); }
    wake_up happened;
  };

private:
  // The question owns the coroutine.
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> ask(question& self, std::string name) {
    std::optional<reported<found_names<T>>> found;
    try {
      auto finding = find<T>(std::move(name), self.state_->servers());
      auto answer = co_await std::move(finding);
      found.emplace(std::move(answer));
      if (*found) self.state_->keep(self.key_, **found);
    } catch (const std::bad_alloc&) {
      found.reset();
    }
    self.forget();
    self.complete_ = true;
    self.answer_ = std::move(found);
    for (list_node* l = self.waiting_.next; l != &self.waiting_; l = l->next) {
      static_cast<waiter&>(*l).happened.note();
    }
  }

  void forget() noexcept { state_->template under_way<T>().erase(key_); }

  state_pointer state_;
  std::string key_;
  bool complete_ = false;
  std::optional<reported<found_names<T>>> answer_;
  list_node waiting_;  // the waiters, in the order in which they asked
  std::optional<future<>> work_;
};

template <class T>
task<reported<found_names<T>>> ask_together(state_pointer state, std::string key,
                                            std::string name) {
  const lookup_words words =
      std::same_as<T, address> ? lookup_words(name) : lookup_words::of_services(name);
  std::shared_ptr<question<T>> asked = state->template question_of<T>(key);
  if (!asked) {
    asked = std::make_shared<question<T>>(state, key);
    state->template under_way<T>()[key] = asked;
    asked->start(std::move(name));
  }
  typename question<T>::waiter waiting(*asked);
  while (!asked->complete()) {
    co_await adapt(wake_up_wait(waiting.happened, words));
  }
  co_return asked->answer();
}

template <class T>
task<reported<found_names<T>>> ask(state_pointer state, std::string name) {
  expect_loop(*state);
  if (is_no_name(name)) {
    auto finding = find<T>(std::move(name), state->servers());
    auto found = co_await std::move(finding);
    co_return found;
  }
  std::string key = key_of<T>(name);
  if (const std::vector<T>* const kept = state->kept_answer<T>(key)) {
    found_names<T> copy(std::vector<T>(*kept), std::chrono::seconds(0));
    co_return copy;
  }
  if (state->shares() && !literal_address(name, 0)) {
    auto asking = ask_together<T>(std::move(state), std::move(key), std::move(name));
    auto found = co_await std::move(asking);
    co_return found;
  }
  auto finding = find<T>(std::move(name), state->servers());
  auto found = co_await std::move(finding);
  if (found) state->keep(key, *found);
  co_return found;
}

task<reported<std::vector<address>>> address_steps(state_pointer state, std::string host,
                                                   std::uint16_t port) {
  auto asking = ask<address>(std::move(state), std::move(host));
  auto found = co_await std::move(asking);
  if (!found) co_return std::unexpected(std::move(found.error()));
  for (address& a : found->all) a = a.with_port(port);
  co_return std::move(found->all);
}

task<reported<std::vector<address>>> service_steps(state_pointer state, std::string host,
                                                   std::string service) {
  const std::string words = words_of_service(host, service);
  auto finding_port = find_port(std::move(service));
  const result<std::uint16_t> port = co_await std::move(finding_port);
  if (!port) co_return std::unexpected(failure(port.error(), words));
  auto finding = address_steps(std::move(state), std::move(host), *port);
  auto found = co_await std::move(finding);
  co_return found;
}

task<reported<std::vector<srv_record>>> srv_steps(state_pointer state, std::string name) {
  auto asking = ask<srv_record>(std::move(state), std::move(name));
  auto found = co_await std::move(asking);
  if (!found) co_return std::unexpected(std::move(found.error()));
  order_services(found->all);
  co_return std::move(found->all);
}

task<reported<tcp_stream>> connect_steps(state_pointer state, std::string host, std::uint16_t port,
                                         socket_options how) {
  expect_loop(*state);
  if (!state->keeps() && !state->shares()) {
    auto connecting = connect_to_name(std::move(host), port, how, state->servers());
    auto made = co_await std::move(connecting);
    co_return made;
  }
  std::string doing = words_of_connect(host, port);
  const std::size_t size_of_look_up = lookup_words(host).describe().size();
  auto finding = address_steps(std::move(state), std::move(host), port);
  auto found = co_await std::move(finding);
  if (!found) {
    // After the words of the look-up, the servers that were asked may follow.
    doing += std::string_view(found.error().doing).substr(size_of_look_up);
    co_return std::unexpected(failure(found.error().error, std::move(doing)));
  }
  auto connecting = connect_to_any(std::move(doing), std::move(*found), how);
  auto made = co_await std::move(connecting);
  co_return made;
}

/// Starts steps with a handler.
template <class T>
pending_operation start(event_loop& loop, task<reported<T>>&& steps,
                        handler<void(result<T>)>&& on_done) {
  return delivery<T>::start(loop, std::move(steps), std::move(on_done));
}

}  // namespace

}  // namespace detail

resolver::resolver(event_loop& loop, resolver_options how) {
  const bool own = !how.servers.empty() || how.timeout.count() > 0 || how.tries > 0;
  if (own && !detail::dns_available()) {
    detail::throw_error(std::errc::not_supported, "a resolver with options, without c-ares");
  }
  for (const address& a : how.servers) {
    if ((a.is_v4() || a.is_v6()) && a.scope() == 0) continue;
    detail::throw_error(std::errc::invalid_argument,
                        "a resolver with the name server " + a.to_string());
  }
  state_ = std::make_shared<detail::resolver_state>(loop, std::move(how));
}

resolver::~resolver() = default;

const std::shared_ptr<detail::resolver_state>& resolver::state() const noexcept {
  if (!state_) detail::misuse("a resolver was used after it was moved from");
  return state_;
}

detail::steps_operation<std::vector<address>> resolver::resolve(std::string host,
                                                                std::uint16_t port) {
  return detail::steps_operation(detail::address_steps(state(), std::move(host), port));
}

pending_operation resolver::resolve(std::string host, std::uint16_t port,
                                    handler<void(result<std::vector<address>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolver::resolve");
  return detail::start(loop(), detail::address_steps(state(), std::move(host), port),
                       std::move(on_resolved));
}

detail::steps_operation<std::vector<address>> resolver::resolve(std::string host,
                                                                std::string service) {
  return detail::steps_operation(
      detail::service_steps(state(), std::move(host), std::move(service)));
}

pending_operation resolver::resolve(std::string host, std::string service,
                                    handler<void(result<std::vector<address>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolver::resolve");
  return detail::start(loop(), detail::service_steps(state(), std::move(host), std::move(service)),
                       std::move(on_resolved));
}

detail::steps_operation<std::vector<srv_record>> resolver::resolve_srv(std::string name) {
  return detail::steps_operation(detail::srv_steps(state(), std::move(name)));
}

pending_operation resolver::resolve_srv(
    std::string name, handler<void(result<std::vector<srv_record>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolver::resolve_srv");
  return detail::start(loop(), detail::srv_steps(state(), std::move(name)), std::move(on_resolved));
}

detail::steps_operation<tcp_stream> resolver::connect(std::string host, std::uint16_t port,
                                                      const socket_options& how) {
  return detail::steps_operation(detail::connect_steps(state(), std::move(host), port, how));
}

pending_operation resolver::connect(std::string host, std::uint16_t port, const socket_options& how,
                                    handler<void(result<tcp_stream>)> on_connected) {
  detail::expect_handler(on_connected, "resolver::connect");
  return detail::start(loop(), detail::connect_steps(state(), std::move(host), port, how),
                       std::move(on_connected));
}

void resolver::clear_cache() noexcept {
  loop().check_thread();
  state()->clear();
}

std::size_t resolver::cached() const noexcept {
  loop().check_thread();
  return state()->size();
}

event_loop& resolver::loop() const noexcept { return state()->loop(); }

}  // namespace eddy
