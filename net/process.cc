// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/process.h>

#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/process_state.h>

namespace eddy {

namespace detail {

process_wait::~process_wait() {
  if (state_ != nullptr && waiter_ != nullptr) state_->forget(*this);
}

bool process_wait::await_ready() {
  if (event_loop::current() != &state_->on()) {
    state_->on().check_thread();
    misuse("a process was awaited on another loop than its own");
  }
  state_->expect_no_wait();
  if (!state_->ended() || !frame::may_go_on()) return false;
  state_->tell(*this);
  return true;
}

void process_wait::begin(frame& waiter) noexcept {
  waiter_ = &waiter;
  state_->wait(*this);
}

result<exit_status> process_wait::await_result() { return *std::move(end_); }

exit_status process_wait::await_resume() {
  if (!*end_) throw_error(end_->error(), doing_);
  return **end_;
}

void process_wait::describe(description& to) const {
  if (state_ != nullptr) state_->describe_wait(to);
}

}  // namespace detail

redirection redirection::read_file(std::string path) { return {std::move(path), O_RDONLY}; }
redirection redirection::write_file(std::string path) {
  return {std::move(path), O_WRONLY | O_CREAT | O_TRUNC};
}
redirection redirection::append_file(std::string path) {
  return {std::move(path), O_WRONLY | O_CREAT | O_APPEND};
}

// By value, so that a caller may hand over the strings.
process::process(event_loop& loop,
                 process_options options) {  // NOLINT(performance-unnecessary-value-param)
  loop.check_thread();
  auto fresh = std::make_unique<detail::process_state>(loop, options);
  fresh->start(options);
  state_ = fresh.release();
}

detail::process_state& process::state() const noexcept {
  if (state_ == nullptr) {
    detail::misuse("a process was used that has no child: it was not started, or moved from");
  }
  state_->on().check_thread();
  return *state_;
}

void process::drop() noexcept {
  if (state_ == nullptr) return;
  state_->on().check_thread();
  std::exchange(state_, nullptr)->drop(false);
}

void process::detach() noexcept {
  detail::process_state& child = state();
  state_ = nullptr;
  child.drop(true);
}

::pid_t process::pid() const noexcept { return state().pid(); }
bool process::running() const noexcept { return !state().ended(); }

void process::wait(handler<void(result<exit_status>)> on_end) {
  detail::expect_handler(on_end, "process::wait");
  state().wait(std::move(on_end));
}

std::optional<result<exit_status>> process::try_wait() const { return state().try_wait(); }
void process::stop_waiting() noexcept { state().stop_waiting(); }
bool process::signal(int number) { return state().signal(number); }
void process::terminate(time_span grace) noexcept { state().terminate(grace); }
void process::terminate() noexcept { state().terminate(state().grace()); }

pipe_writer& process::input() noexcept {
  if (!state().pipes[0]) detail::misuse("the standard input of this process is no pipe");
  return state().input;
}
pipe_reader& process::output() noexcept {
  if (!state().pipes[1]) detail::misuse("the standard output of this process is no pipe");
  return state().output;
}
pipe_reader& process::error() noexcept {
  if (!state().pipes[2]) detail::misuse("the standard error of this process is no pipe");
  return state().error;
}
pseudo_terminal& process::terminal() noexcept {
  if (!state().has_terminal) detail::misuse("this process has no pseudo-terminal");
  return state().terminal;
}

event_loop& process::loop() const noexcept { return state().on(); }

}  // namespace eddy
