// SPDX-License-Identifier: BSD-2-Clause
// A mistake of the programmer aborts the program with a sentence, whatever the object:
// use from another thread, handlers that are null, objects that were moved from.
#include <array>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <unistd.h>

#include <eddy/future/flow/stop_token.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/blocking_job.h>
#include <eddy/loop/child_process.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>
#include <eddy/net/connect.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/resolve.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "support/forked.h"
#include "support/socket_pair.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;

namespace {

eddy::task<> nothing() { co_return; }

/// One object of each kind that belongs to a loop.
struct everything {
  explicit everything(eddy::event_loop& l)
      : loop(l),
        timer(l),
        running_timer(l),
        signal(l, SIGUSR2),
        watched_signal(l, SIGUSR1),
        readiness(std::in_place, l, pair.near()),
        waiting(std::in_place, l, pair.far()),
        files(l, "/"),
        watched_files(l, "/"),
        listener(l, eddy::address::loopback_v4(0)),
        streams(l),
        connecting(eddy::connect(l, listener.local_address(), [](auto&&) {})),
        promise(std::in_place, l),
        future(promise->get_future()),
        scope(std::in_place, l),
        source(l),
        on_stop(std::in_place, source.token(), [] {}) {
    running_timer.start(1h, [] {});
    watched_signal.start([] {});
    waiting->wait_readable([](std::error_code) {});
    watched_files.start([](auto&&...) {});
    streams.far.read(std::span(bytes), [](auto&&) {});
  }

  eddy::event_loop& loop;
  socket_pair pair;
  eddy::timer timer;
  eddy::timer running_timer;
  eddy::signal signal;
  eddy::signal watched_signal;
  std::optional<eddy::readiness> readiness;
  std::optional<eddy::readiness> waiting;
  eddy::file_watch files;
  eddy::file_watch watched_files;
  eddy::tcp_listener listener;
  stream_pair streams;
  eddy::pending_operation connecting;
  std::array<char, 64> bytes{};
  std::array<char, 64> others{};
  std::optional<eddy::promise<>> promise;
  std::optional<eddy::future<>> future;
  std::optional<eddy::scope> scope;
  eddy::stop_source source;
  std::optional<eddy::stop_callback> on_stop;
};

::pid_t a_child() {
  const ::pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  return pid;
}

struct use {
  const char* what;
  void (*of)(everything&);
};

constexpr use uses[] = {
    {"now", [](everything& e) { static_cast<void>(e.loop.now()); }},
    {"after", [](everything& e) { static_cast<void>(e.loop.after(1s)); }},
    {"count", [](everything& e) { static_cast<void>(e.loop.count()); }},
    {"dump", [](everything& e) { static_cast<void>(e.loop.dump()); }},
    {"dump_json", [](everything& e) { static_cast<void>(e.loop.dump_json()); }},
    {"defer", [](everything& e) { e.loop.defer([] {}); }},
    {"stop", [](everything& e) { e.loop.stop(); }},
    {"end_turn", [](everything& e) { e.loop.end_turn(); }},
    {"raise", [](everything& e) { e.loop.raise(std::make_exception_ptr(1)); }},
    {"on_exception", [](everything& e) { e.loop.on_exception([](const std::exception_ptr&) {}); }},
    {"descriptor", [](everything& e) { static_cast<void>(e.loop.descriptor()); }},
    {"next_run", [](everything& e) { static_cast<void>(e.loop.next_run()); }},
    {"work_guard", [](everything& e) { const eddy::work_guard kept(e.loop); }},
    {"timer::start", [](everything& e) { e.timer.start(1s, [] {}); }},
    {"timer::start_at", [](everything& e) { e.timer.start_at(eddy::time_point(), [] {}); }},
    {"timer::start_every", [](everything& e) { e.timer.start_every(1s, [] {}); }},
    {"timer::restart", [](everything& e) { e.running_timer.restart(1s); }},
    {"timer::stop", [](everything& e) { e.running_timer.stop(); }},
    {"timer's move", [](everything& e) { const eddy::timer t(std::move(e.running_timer)); }},
    {"signal::start", [](everything& e) { e.signal.start([] {}); }},
    {"signal::stop", [](everything& e) { e.watched_signal.stop(); }},
    {"signal::background", [](everything& e) { e.watched_signal.background(true); }},
    {"wait_readable", [](everything& e) { e.readiness->wait_readable([](std::error_code) {}); }},
    {"wait_writable", [](everything& e) { e.readiness->wait_writable([](std::error_code) {}); }},
    {"readiness::stop", [](everything& e) { e.waiting->stop(); }},
    {"readiness's end", [](everything& e) { e.waiting.reset(); }},
    {"a new readiness", [](everything& e) { const eddy::readiness r(e.loop, STDIN_FILENO); }},
    {"file_watch::start", [](everything& e) { e.files.start([](auto&&...) {}); }},
    {"file_watch::stop", [](everything& e) { e.watched_files.stop(); }},
    {"child", [](everything& e) { eddy::child_process(e.loop, a_child()).start([](auto&&) {}); }},
    {"blocking_job", [](everything& e) { const eddy::blocking_job j(e.loop, [] {}, [] {}); }},
    {"listen",
     [](everything& e) { const eddy::tcp_listener l(e.loop, eddy::address::loopback_v4(0)); }},
    {"accept", [](everything& e) { e.listener.accept([](auto&&) {}); }},
    {"try_accept", [](everything& e) { static_cast<void>(e.listener.try_accept()); }},
    {"listener's open", [](everything& e) { static_cast<void>(e.listener.open()); }},
    {"listener's close", [](everything& e) { e.listener.close(); }},
    {"connect",
     [](everything& e) {
       static_cast<void>(eddy::connect(e.loop, e.listener.local_address(), [](auto&&) {}));
     }},
    {"resolve",
     [](everything& e) {
       static_cast<void>(eddy::resolve(e.loop, "localhost", 1, [](auto&&) {}));
     }},
    {"pending_operation::stop", [](everything& e) { e.connecting.stop(); }},
    {"pending_operation::active", [](everything& e) { static_cast<void>(e.connecting.active()); }},
    {"the end of a pending_operation",
     [](everything& e) { const eddy::pending_operation p = std::move(e.connecting); }},
    {"read", [](everything& e) { e.streams.near.read(std::span(e.others), [](auto&&) {}); }},
    {"try_read",
     [](everything& e) { static_cast<void>(e.streams.near.try_read(std::span(e.others))); }},
    {"write", [](everything& e) { e.streams.near.write("x", [](auto&&) {}); }},
    {"try_write", [](everything& e) { static_cast<void>(e.streams.near.try_write("x")); }},
    {"stream's wait_readable", [](everything& e) { e.streams.near.wait_readable([](auto&&) {}); }},
    {"shutdown", [](everything& e) { e.streams.near.shutdown(); }},
    {"shutdown_read", [](everything& e) { e.streams.near.shutdown_read(); }},
    {"stop_reading", [](everything& e) { e.streams.far.stop_reading(); }},
    {"stop_writing", [](everything& e) { e.streams.far.stop_writing(); }},
    {"stream's open", [](everything& e) { static_cast<void>(e.streams.far.open()); }},
    {"stream's close", [](everything& e) { e.streams.far.close(); }},
    {"stream's end", [](everything& e) { const eddy::tcp_stream s = std::move(e.streams.far); }},
    {"promise::set_value", [](everything& e) { e.promise->set_value(); }},
    {"promise's end", [](everything& e) { e.promise.reset(); }},
    {"future::then", [](everything& e) { *e.future = std::move(*e.future).then([] {}); }},
    {"future's end", [](everything& e) { e.future.reset(); }},
    {"spawn", [](everything& e) { eddy::spawn(e.loop, nothing()).detach(); }},
    {"scope::spawn", [](everything& e) { e.scope->spawn(nothing()); }},
    {"scope::dump", [](everything& e) { static_cast<void>(e.scope->dump()); }},
    {"stopped", [](everything& e) { static_cast<void>(e.loop.stopped()); }},
    {"forbid_going_on", [](everything& e) { e.loop.forbid_going_on(); }},
    {"stop_callback's end", [](everything& e) { e.on_stop.reset(); }},
    {"scope::cancel", [](everything& e) { e.scope->cancel(); }},
};

/// Makes one use from another thread while `loop` runs.
void use_elsewhere(eddy::event_loop& loop, const use& one) {
  everything e(loop);
  bool used = false;
  loop.defer([&] {
    std::thread([&] { one.of(e); }).join();
    used = true;
  });
  while (!used) loop.run_once();  // on a busy machine a turn may end before
}

/// Checks that each use aborts the program with its name and this sentence.
void expect_deaths(std::span<const use> all, std::string_view sentence) {
  for (const use& one : all) {
    INFO(std::string(one.what));
    dies_saying(one.what + std::string(sentence), [&] {
      eddy::event_loop loop;
      everything e(loop);
      one.of(e);
    });
  }
}

}  // namespace

TEST_CASE("an object of a running loop may not be used from another thread") {
  for (const use& one : uses) {
    INFO(std::string(one.what));
    dies_saying("was used from another thread", [&] {
      eddy::event_loop loop;
      use_elsewhere(loop, one);
    });
  }
}

TEST_CASE(
    "an object of an adopted loop may not be used from another thread, even while it does not "
    "run") {
  for (const use& one : uses) {
    INFO(std::string(one.what));
    dies_saying("was used from another thread", [&] {
      struct ev_loop* const ev = ev_loop_new(EVBACKEND_EPOLL);
      eddy::event_loop loop(ev);
      everything e(loop);
      std::thread([&] { one.of(e); }).join();
    });
  }
}

TEST_CASE("each of these uses is right on the loop's own thread") {
  for (const use& one : uses) {
    INFO(std::string(one.what));
    CHECK(holds_in_child([&] {
      eddy::event_loop loop;
      everything e(loop);
      loop.on_exception([](const std::exception_ptr&) {});
      bool used = false;
      loop.defer([&] {
        one.of(e);
        used = true;
      });
      while (!used) loop.run_once();
      loop.run_ready();
      std::_Exit(0);  // without destroying what it has started
      return true;
    }));
  }
}

TEST_CASE("a null handler is refused by the call that gets it") {
  constexpr use nulls[] = {
      {"timer::start", [](everything& e) { e.timer.start(1s, nullptr); }},
      {"timer::start_at", [](everything& e) { e.timer.start_at(eddy::time_point(), nullptr); }},
      {"timer::start_every", [](everything& e) { e.timer.start_every(1s, nullptr); }},
      {"event_loop::defer", [](everything& e) { e.loop.defer(nullptr); }},
      {"post", [](everything& e) { e.loop.post(nullptr); }},
      {"post", [](everything& e) { e.loop.handle().post(nullptr); }},
      {"reserved_post",
       [](everything& e) { const eddy::reserved_post p(e.loop.handle(), nullptr); }},
      {"signal::start", [](everything& e) { e.signal.start(nullptr); }},
      {"readiness::wait_readable", [](everything& e) { e.readiness->wait_readable(nullptr); }},
      {"readiness::wait_writable", [](everything& e) { e.readiness->wait_writable(nullptr); }},
      {"file_watch::start", [](everything& e) { e.files.start(nullptr); }},
      {"child_process::start",
       [](everything& e) { eddy::child_process(e.loop, a_child()).start(nullptr); }},
      {"blocking_job", [](everything& e) { const eddy::blocking_job j(e.loop, nullptr, [] {}); }},
      {"blocking_job", [](everything& e) { const eddy::blocking_job j(e.loop, [] {}, nullptr); }},
      {"stop_callback",
       [](everything& e) {
         eddy::stop_source source(e.loop);
         const eddy::stop_callback c(source.token(), nullptr);
       }},
      {"socket_stream::read",
       [](everything& e) { e.streams.near.read(std::span(e.others), nullptr); }},
      {"socket_stream::write",
       [](everything& e) { e.streams.near.write(eddy::const_buffer("x"), nullptr); }},
      {"socket_stream::wait_readable",
       [](everything& e) { e.streams.near.wait_readable(nullptr); }},
      {"socket_stream::wait_writable",
       [](everything& e) { e.streams.near.wait_writable(nullptr); }},
      {"tcp_listener::accept", [](everything& e) { e.listener.accept(nullptr); }},
      {"connect",
       [](everything& e) {
         static_cast<void>(eddy::connect(e.loop, e.listener.local_address(), nullptr));
       }},
      {"connect",
       [](everything& e) { static_cast<void>(eddy::connect(e.loop, "localhost", 1, nullptr)); }},
      {"resolve",
       [](everything& e) { static_cast<void>(eddy::resolve(e.loop, "localhost", 1, nullptr)); }},
  };
  expect_deaths(nulls, " was given a handler that is null");
}

TEST_CASE("a use of an object that was moved from is refused") {
  constexpr use moved[] = {
      {"a loop_handle",
       [](everything& e) {
         eddy::loop_handle first = e.loop.handle();
         const eddy::loop_handle second = std::move(first);
         first.post([] {});  // NOLINT(bugprone-use-after-move)
       }},
      {"a readiness",
       [](everything& e) {
         const eddy::readiness other = std::move(*e.readiness);
         e.readiness->wait_writable([](std::error_code) {});
       }},
      {"a child_process",
       [](everything& e) {
         eddy::child_process first(e.loop, a_child());
         const eddy::child_process second = std::move(first);
         first.start([](auto&&) {});  // NOLINT(bugprone-use-after-move)
       }},
      {"a stream",
       [](everything& e) {
         const eddy::tcp_stream other = std::move(e.streams.near);
         e.streams.near.shutdown();
       }},
      {"a tcp_listener",
       [](everything& e) {
         const eddy::tcp_listener other = std::move(e.listener);
         static_cast<void>(e.listener.try_accept());
       }},
  };
  expect_deaths(moved, " was used that");
}
