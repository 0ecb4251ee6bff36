// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/process_state.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include <poll.h>
#include <signal.h>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/start_process.h>

namespace eddy::detail {

process_state::process_state(event_loop& loop, const process_options& options)
    : inspectable(loop, false),
      ready_node(&run),
      program_(visible(options.program)),
      grace_(options.grace),
      leads_group_(options.terminal || options.place != process_options::with_parent),
      kill_(loop) {}

void process_state::start(const process_options& options) {
  started_process started = start_process(options);
  pid_ = started.pid;
  pidfd_ = std::move(started.pidfd);
  try {
    for (std::size_t i = 0; i < 3; ++i) pipes[i] = started.ends[i].number() >= 0;
    has_terminal = started.terminal.number() >= 0;
    if (pipes[0]) input = pipe_access::make<pipe_writer>(end(started.ends[0]));
    if (pipes[1]) output = pipe_access::make<pipe_reader>(end(started.ends[1]));
    if (pipes[2]) error = pipe_access::make<pipe_reader>(end(started.ends[2]));
    if (has_terminal) {
      const int master = started.terminal.release();
      terminal = pipe_access::make<pseudo_terminal>(make_pipe_end(loop(), master, terminal_master));
    }
    watch();
  } catch (const std::system_error& e) {
    kill_and_reap();
    fail_start(options.program, "watch the process", e.code());
  } catch (...) {
    kill_and_reap();
    throw;
  }
}

pipe_end process_state::end(socket_descriptor& from) {
  return make_pipe_end(loop(), from.release(), pipe_itself);
}

void process_state::watch() {
  try {
    child_.emplace(loop(), pid_, pidfd_.number());
  } catch (const std::system_error& e) {
    // Other code has reaped the child already, or the kernel has, because SIGCHLD is ignored.
    if (e.code() != std::errc::no_such_process && e.code() != std::errc::no_child_process) throw;
    end_ = std::unexpected(std::make_error_code(std::errc::no_child_process));
    return;
  }
  child_->background(true);
  child_->wait(*this);
}

std::string process_state::name() const { return text({"process ", pid_, " (", program_, ")"}); }

// ---- The end

const std::optional<result<exit_status>>& process_state::try_wait() {
  if (!end_ && child_) {
    const std::optional<result<exit_status>> found = child_->reap();
    if (found) {
      settle(*found);
      if (waiting() && !queued()) loop().ready(*this);
    }
  }
  return end_;
}

void process_state::wait(handler<void(result<exit_status>)> on_end) {
  expect_no_wait();
  on_end_ = std::move(on_end);
  begin_wait();
}

void process_state::wait(process_wait& awaiter) noexcept {
  expect_no_wait();
  awaiter_ = &awaiter;
  begin_wait();
}

void process_state::expect_no_wait() const noexcept {
  if (waiting()) misuse(text({"a wait is already pending on this process (", name(), ")"}).c_str());
}

void process_state::forget(const process_wait& awaiter) noexcept {
  if (awaiter_ != &awaiter) return;
  awaiter_ = nullptr;
  end_wait();
}

void process_state::stop_waiting() noexcept {
  const auto dropped = std::exchange(on_end_, nullptr);
  if (process_wait* const a = std::exchange(awaiter_, nullptr)) {
    give(*a, std::unexpected(std::make_error_code(std::errc::operation_canceled)));
  }
  end_wait();
}

void process_state::begin_wait() noexcept {
  if (!ended()) {
    child_->background(false);
  } else if (!queued()) {
    loop().ready(*this);
  }
}

void process_state::end_wait() noexcept {
  if (!ended()) {
    if (!dropped_ || runs_on_) child_->background(true);
  } else {
    withdraw();
  }
}

void process_state::give(process_wait& a, const result<exit_status>& end) const noexcept {
  store(a, end);
  loop().ready(*a.waiter_);
}

void process_state::store(process_wait& a, const result<exit_status>& end) const noexcept {
  a.state_ = nullptr;
  a.end_ = end;
  if (end) return;
  try {
    a.doing_ = text({"wait for ", name()});
  } catch (const std::bad_alloc&) {
    a.doing_.clear();  // the error has no words but its own
  }
}

void process_state::settle(const result<exit_status>& end) noexcept {
  end_ = end;
  kill_.stop();
  child_->stop();
  child_.reset();
  pidfd_ = {};
}

void process_state::run(ready_node& node) {
  auto& self = static_cast<process_state&>(node);
  if (!self.ended()) {
    if (self.child_->gives_way(node)) return;
    const std::optional<result<exit_status>> found = self.child_->reap();
    if (!found) return self.child_->wait(node);
    self.settle(*found);
  }
  if (self.dropped_) {
    delete &self;
    return;
  }
  const result<exit_status> end = *self.end_;
  if (process_wait* const a = std::exchange(self.awaiter_, nullptr)) return self.give(*a, end);
  auto on_end = std::exchange(self.on_end_, nullptr);  // which may destroy this
  if (on_end) on_end(end);
}

// ---- Signals

bool process_state::signal(int number) {
  if (send(number)) return true;
  if (errno == ESRCH) return false;
  throw_errno(text({"send signal ", number, " to ", name()}));
}

void process_state::terminate(duration grace) noexcept {
  if (ended()) return;
  if (grace <= duration::zero()) return kill();
  send_to_all({SIGTERM, SIGCONT});  // a stopped process does not act on SIGTERM
  try {
    kill_.start(grace, [this] { kill(); });
  } catch (const std::bad_alloc&) {
    kill();  // without memory for the timer
  }
}

bool process_state::running() const noexcept {
  // The kernel takes signals for a process that has ended, until it is reaped.
  return pidfd_.number() >= 0 && is_ours() && os().poll(pidfd_.number(), POLLIN) != 1;
}

bool process_state::send(int number) noexcept {
  if (running()) return os().signal_process(pidfd_.number(), number) == 0;
  errno = ESRCH;
  return false;
}

void process_state::send_to_all(std::initializer_list<int> numbers) noexcept {
  // The child may end at the first signal. The number of a group is not used again while its leader
  // is not reaped.
  if (!running()) return;
  for (const int number : numbers) {
    if (leads_group_) {
      os().signal_group(pid_, number);
    } else {
      os().signal_process(pidfd_.number(), number);
    }
  }
}

void process_state::kill() noexcept {
  kill_.stop();
  send_to_all({SIGKILL});
}

void process_state::kill_and_reap() noexcept {
  if (ended() || pidfd_.number() < 0) return;
  send_to_all({SIGKILL});
  child_.reset();
  // SIGKILL takes effect at once, unless the process waits for a broken disk.
  while (os().reap(pidfd_.number()) < 0 && errno == EINTR) {
  }
}

// ---- The owner

void process_state::drop(bool runs_on) noexcept {
  // The last handler may own the loop's other objects, but not this.
  input.close();
  output.close();
  error.close();
  terminal.close();
  dropped_ = true;
  runs_on_ = runs_on;
  const bool owned = !ended() && is_ours();
  if (owned) {
    list();
    if (runs_on) {
      kill_.stop();
    } else {
      child_->background(false);
      terminate(grace_);
    }
  }
  stop_waiting();
  if (!owned) delete this;
}

bool process_state::abandon() noexcept {
  if (!dropped_) return false;
  if (!runs_on_) kill_and_reap();
  delete this;
  return true;
}

void process_state::describe(description& to) const {
  to.add(text({name(), runs_on_ ? ", which runs on" : ", which is being ended"}));
}

void process_state::describe_wait(description& to) const { to.add(text({name(), " to end"})); }

}  // namespace eddy::detail
