// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/stop_token.h>

#include <memory>
#include <optional>
#include <utility>

#include <eddy/future/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/keep_alive.h>

namespace eddy {

void detail::stop_state::retain() noexcept {
  check_thread();
  ++owners_;
}

void detail::stop_state::release() noexcept {
  check_thread();
  if (--owners_ == 0) delete this;
}

stop_source::stop_source() : stop_source(detail::current_loop("stop_source")) {}

stop_source::stop_source(event_loop& loop) : state_(new detail::stop_state(loop)) {}

stop_callback::stop_callback(const stop_token& token, handler<void()> on_stop)
    : ready_node(&run), state_(token.state_) {
  detail::expect_handler(on_stop, "stop_callback");
  handler_.swap(on_stop);
  state_->wait(place_, *this);
}

void stop_callback::run(ready_node& node) {
  static_cast<stop_callback&>(node).handler_.call(false);
}

namespace detail {

namespace {

/// A source that a posted function shares. That may run when the coroutine has gone, or
/// be destroyed by another thread when the loop has: it finds no source then.
class shared_source {
public:
  explicit shared_source(event_loop& loop)
      : source_(std::make_shared<std::optional<stop_source>>(std::in_place, loop)) {}
  shared_source(const shared_source&) = delete;
  shared_source& operator=(const shared_source&) = delete;
  ~shared_source() { source_->reset(); }

  [[nodiscard]] stop_token token() const { return (*source_)->token(); }
  [[nodiscard]] handler<void()> request() const {
    return [source = source_] {
      if (*source) (*source)->request_stop();
    };
  }

private:
  std::shared_ptr<std::optional<stop_source>> source_;
};

task<> wait_until_stopped(std::stop_token token) {
  if (token.stop_requested()) co_return;
  event_loop& loop = *event_loop::current();
  const keep_alive others_may_request(loop);
  const shared_source stop(loop);
  const stop_token stopped = stop.token();
  // Whoever requests the stop has nothing to do with a lack of memory.
  reserved_post post(loop.remote(), stop.request());
  const std::stop_callback on_stop(token, [&post] { post.post(); });
  co_await stopped;
}

}  // namespace

void stop_state::expect_own_loop() const noexcept {
  if (event_loop::current() != loop_) {
    misuse("a stop_token was awaited on another loop than its own");
  }
}

void stop_state::request() noexcept {
  loop_->check_thread();
  requested_ = true;
  while (waiters_.linked()) {
    auto& first = static_cast<waiter&>(*waiters_.next);
    first.unlink();
    loop_->ready(*first.node_);
  }
}

void stop_state::wait(waiter& place, ready_node& node) noexcept {
  loop_->check_thread();
  if (requested_) return loop_->ready(node);
  place.node_ = &node;
  waiters_.push_back(place);
}

}  // namespace detail

task<> until_stopped(std::stop_token token) { return detail::wait_until_stopped(std::move(token)); }

}  // namespace eddy
