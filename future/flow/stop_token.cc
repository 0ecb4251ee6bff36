// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/stop_token.h>

#include <memory>
#include <optional>
#include <utility>

#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/work_guard.h>

namespace eddy {

stop_source::stop_source() : stop_source(detail::current_loop("stop_source")) {}

stop_source::stop_source(event_loop& loop) : state_(new detail::stop_state(loop)) {}

stop_callback::stop_callback(const stop_token& token, handler<void()> on_stop)
    : ready_node(&run), state_(token.state_) {
  detail::expect_handler(on_stop, "stop_callback");
  handler_.swap(on_stop);
  state_->add(node_, *this);
}

void stop_callback::run(ready_node& node) {
  static_cast<stop_callback&>(node).handler_.call(false);
}

namespace detail {

namespace {

/// A source that the coroutine shares with the function it posts. The function may run after the
/// coroutine is destroyed, or be destroyed by another thread after the loop: it then finds no
/// source.
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
  const work_guard others_may_request(loop);
  const shared_source stop(loop);
  const stop_token stopped = stop.token();
  // Reserved here, so that a request to stop never fails for lack of memory.
  reserved_post post(loop.handle(), stop.request());
  const std::stop_callback on_stop(token, [&post] { post.post(); });
  co_await stopped;
}

}  // namespace

}  // namespace detail

task<> until_stopped(std::stop_token token) { return detail::wait_until_stopped(std::move(token)); }

}  // namespace eddy
