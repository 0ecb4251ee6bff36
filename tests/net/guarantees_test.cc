// SPDX-License-Identifier: BSD-2-Clause
// Tests of README.md's guarantees. Each test has the name of a guarantee.
#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>
#include <eddy/net/connect.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;

namespace {

eddy::task<> note_at_end(journal& note, eddy::duration delay) {
  struct on_exit {
    explicit on_exit(journal& n) : note(n) {}
    ~on_exit() { note("gone"); }
    journal& note;
  };
  const on_exit local(note);
  co_await eddy::sleep(delay);
  note("went on");
}

eddy::task<> await_and_note(eddy::future<> f, journal& note) {
  co_await std::move(f);
  note("resumed");
}

eddy::task<std::size_t> read_some(eddy::tcp_stream& from, char* into, std::size_t size) {
  const std::size_t got = co_await from.read(std::span(into, size));
  co_return got;
}

eddy::task<> fail() {
  co_await eddy::yield();
  throw std::runtime_error("nobody looks");
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "one thread") {
  dies_saying("from another thread", [this] {
    loop.defer([this] { std::jthread([this] { loop.defer([] {}); }).join(); });
    loop.run();
  });
}

ASYNC_TEST("only the loop runs your code") {
  journal note;
  eddy::promise<> promise;
  const auto waiting = eddy::spawn(await_and_note(promise.get_future(), note));
  co_await eddy::yield();

  loop.defer([&note] { note("deferred"); });
  note("registered");
  promise.set_value();
  note("set");
  co_await eddy::yield();
  CHECK(note == "registered set deferred resumed");
}

ASYNC_TEST("dropping cancels") {
  journal note;
  auto work = eddy::spawn(note_at_end(note, 1s));
  eddy::timer timer(loop);
  timer.start(1s, [&note] { note("fired"); });
  co_await eddy::yield();

  work = {};
  timer.stop();
  note("dropped");
  co_await eddy::sleep(2s);
  CHECK(note == "gone dropped");
}

ASYNC_TEST("nothing is taken before it is delivered") {
  stream_pair pair(loop);
  std::array<char, 16> buffer{};
  auto first = eddy::spawn(read_some(pair.near, buffer.data(), buffer.size()));
  co_await eddy::yield();
  send(pair.far, "hello");
  // The loop sees that bytes have arrived, and the reader is destroyed before it resumes.
  loop.defer([&first] { first = {}; });
  co_await eddy::yield();
  co_await eddy::yield();

  const std::size_t got = co_await pair.near.read(buffer);
  CHECK(std::string(buffer.data(), got) == "hello");
}

TEST_CASE_FIXTURE(with_still_loop, "a handler may destroy anything") {
  auto own = std::make_unique<eddy::timer>(loop);
  auto other = std::make_unique<eddy::timer>(loop);
  bool other_fired = false;
  own->start(1s, [&] {
    own.reset();
    other.reset();
  });
  other->start(1s, [&other_fired] { other_fired = true; });
  clock.advance(1s);
  loop.run();
  CHECK_FALSE(own);
  CHECK_FALSE(other_fired);
}

ASYNC_TEST("errors from outside are values") {
  eddy::address refused;
  {
    const eddy::tcp_listener gone(loop, eddy::address::loopback_v4(0));
    refused = gone.local_address();
  }
  const auto as_value = co_await eddy::as_result(eddy::connect(refused));
  CHECK(as_value.error() == std::errc::connection_refused);
  std::string what;
  try {
    const auto stream = co_await eddy::connect(refused);
  } catch (const std::system_error& e) {
    what = e.what();
  }
  CHECK(what.contains(refused.to_string()));

  stream_pair pair(loop);
  pair.far.close();
  std::array<char, 16> buffer{};
  const std::size_t got = co_await pair.near.read(buffer);
  CHECK(got == 0);
}

TEST_CASE_FIXTURE(with_loop, "misuse stops the program") {
  dies_saying("set twice", [this] {
    eddy::promise<> promise(loop);
    promise.set_value();
    promise.set_value();
  });
}

TEST_CASE_FIXTURE(with_loop, "errors do not vanish") {
  loop.defer([] { throw std::runtime_error("a handler's"); });
  CHECK_THROWS_WITH_AS(loop.run(), "a handler's", std::runtime_error);

  auto unseen = eddy::spawn(loop, fail());
  loop.run();
  unseen = {};
  CHECK_THROWS_WITH_AS(loop.run(), "nobody looks", std::runtime_error);

  std::string taken;
  loop.on_exception([&taken](const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      taken = e.what();
    }
  });
  loop.defer([] { throw std::runtime_error("for the hook"); });
  loop.run();
  CHECK(taken == "for the hook");
}

TEST_CASE_FIXTURE(with_still_loop, "time") {
  journal note;
  eddy::timer first(loop);
  eddy::timer second(loop);
  second.start(1s, [&note] { note("1"); });
  first.start(1s, [&note] { note("2"); });
  clock.advance(1s - 1ns);
  loop.run_ready();
  CHECK(note == "");
  clock.advance(1ns);
  loop.run_ready();
  CHECK(note == "1 2");
}
