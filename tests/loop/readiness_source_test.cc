// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/detail/readiness_source.h>.
#include <eddy/loop/detail/readiness_source.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <system_error>

#include <doctest/doctest.h>
#include <ev.h>

#include <eddy/loop/descriptor_watch.h>
#include <eddy/loop/detail/watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using direction = eddy::readiness::direction;
using eddy::detail::readiness_source;

namespace {

/// A source of two descriptors whose readiness the test sets.
class switches final : public readiness_source {
public:
  static constexpr int first = first_number;
  static constexpr int second = first_number + 1;

  explicit switches(eddy::event_loop& loop) : readiness_source(loop) {}

  void set(int descriptor, direction which) {
    state(descriptor, which) = true;
    became_ready(descriptor, which);
  }
  void unset(int descriptor, direction which) { state(descriptor, which) = false; }
  void close(int descriptor) {
    open_.erase(descriptor);
    was_closed(descriptor);
  }

private:
  [[nodiscard]] bool is_open(int descriptor) const noexcept override {
    return open_.contains(descriptor);
  }
  [[nodiscard]] bool is_ready(int descriptor, direction which) const noexcept override {
    return open_.at(descriptor)[static_cast<std::size_t>(which)];
  }
  bool& state(int descriptor, direction which) {
    return open_.at(descriptor)[static_cast<std::size_t>(which)];
  }

  std::map<int, std::array<bool, 2>> open_{{first, {}}, {second, {}}};
};

/// Notes `name` and the error that a wait ends with.
auto noting(journal& note, const char* name) {
  return [&note, name](std::error_code error) {
    note(name);
    if (error == std::errc::bad_file_descriptor) note("closed");
  };
}

std::error_code refusal(eddy::event_loop& loop, int descriptor) {
  try {
    const eddy::readiness watched(loop, descriptor);
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

}  // namespace

TEST_CASE_TEMPLATE("a source completes a wait of its descriptor and direction", Loop, ANY_LOOP) {
  Loop f;
  switches source(f.loop);
  eddy::readiness one(f.loop, switches::first);
  eddy::readiness two(f.loop, switches::second);
  eddy::timer later(f.loop);
  journal note;
  one.wait_readable(noting(note, "read"));
  one.wait_writable(noting(note, "write"));
  two.wait_readable(noting(note, "other"));
  later.start(1ms, [&] {
    source.set(switches::first, direction::write);
    note("set");
  });
  f.run();
  CHECK(note == "set write");
  CHECK(one.waiting(direction::read));
  CHECK(two.waiting(direction::read));
}

TEST_CASE_TEMPLATE("a source that becomes ready outside a turn wakes its loop", Loop, ANY_LOOP) {
  Loop f;
  switches source(f.loop);
  eddy::readiness one(f.loop, switches::first);
  journal note;
  one.wait_readable(noting(note, "read"));
  source.set(switches::first, direction::read);
  CHECK(note == "");
  f.run();
  CHECK(note == "read");
}

TEST_CASE_FIXTURE(program_run_loop,
                  "a source that becomes ready in the last libev callback keeps ev_run going") {
  switches source(loop);
  eddy::readiness one(loop, switches::first);
  journal note;
  one.wait_readable(noting(note, "read"));
  ev_timer last;
  ev_timer_init(
      &last,
      [](struct ev_loop*, ev_timer* t, int) {
        static_cast<switches*>(t->data)->set(switches::first, direction::read);
      },
      0., 0.);
  last.data = &source;
  ev_set_priority(&last, EV_MINPRI);  // after eddy's own callback
  ev_timer_start(ev, &last);
  run();
  CHECK(note == "read");
}

TEST_CASE_TEMPLATE("a wait for a descriptor that is ready completes at each level", Loop,
                   ANY_LOOP) {
  Loop f;
  switches source(f.loop);
  source.set(switches::first, direction::read);
  eddy::readiness one(f.loop, switches::first);
  journal note;
  for (int i = 0; i < 2; ++i) {
    one.wait_readable(noting(note, "read"));
    f.run();
  }
  CHECK(note == "read read");
  source.unset(switches::first, direction::read);
  one.wait_readable(noting(note, "never"));
  f.run();
  CHECK(note == "read read");
}

TEST_CASE_FIXTURE(with_loop, "a source completes the waits of all watches of a descriptor") {
  switches source(loop);
  eddy::readiness one(loop, switches::first);
  auto gone = std::make_unique<eddy::readiness>(loop, switches::first);
  eddy::readiness three(loop, switches::first);
  journal note;
  one.wait_readable(noting(note, "one"));
  gone->wait_readable(noting(note, "gone"));
  three.wait_readable(noting(note, "three"));
  gone.reset();
  source.set(switches::first, direction::read);
  loop.run();
  CHECK(note == "three one");
}

TEST_CASE_FIXTURE(with_loop, "a wait that a source completed can still be stopped") {
  switches source(loop);
  eddy::readiness one(loop, switches::first);
  journal note;
  one.wait_readable(noting(note, "read"));
  source.set(switches::first, direction::read);
  one.stop();
  loop.run();
  CHECK(note == "");
}

TEST_CASE_FIXTURE(with_loop, "the waits for a descriptor that a source closes end at once") {
  switches source(loop);
  eddy::readiness one(loop, switches::first);
  eddy::readiness two(loop, switches::second);
  journal note;
  one.wait_readable(noting(note, "one"));
  two.wait_readable(noting(note, "two"));
  source.close(switches::first);
  loop.run();
  CHECK(note == "one closed");
  one.wait_writable(noting(note, "again"));
  loop.run();
  CHECK(note == "one closed again closed");
}

TEST_CASE_FIXTURE(with_loop, "a wait that begins after the close ends with an error") {
  switches source(loop);
  eddy::readiness one(loop, switches::first);
  source.close(switches::first);
  journal note;
  one.wait_readable(noting(note, "one"));
  loop.run();
  CHECK(note == "one closed");
}

TEST_CASE_FIXTURE(with_loop, "the waits that outlive their source end with an error") {
  journal note;
  std::unique_ptr<eddy::readiness> one;
  {
    const switches source(loop);
    one = std::make_unique<eddy::readiness>(loop, switches::first);
    one->wait_readable(noting(note, "one"));
  }
  loop.run();
  CHECK(note == "one closed");
  CHECK(refusal(loop, switches::first) == std::errc::bad_file_descriptor);
  const switches next(loop);
  CHECK_FALSE(refusal(loop, switches::first));
}

TEST_CASE_FIXTURE(with_loop, "a number of a source that is not open cannot be watched") {
  CHECK(refusal(loop, switches::first) == std::errc::bad_file_descriptor);
  const switches source(loop);
  CHECK_FALSE(refusal(loop, switches::first));
  CHECK(refusal(loop, switches::second + 1) == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(with_loop, "a wait at a loop without a source ends with an error") {
  eddy::detail::watch w(loop, switches::first);
  struct noted : eddy::ready_node {
    explicit noted(journal& n) noexcept
        : ready_node([](ready_node& self) { static_cast<noted&>(self).note("ran"); }), note(n) {}
    journal& note;
  };
  journal note;
  noted node(note);
  w.wait(direction::read, node);
  loop.run();
  CHECK(note == "ran");
  CHECK(w.take_failure() == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(with_loop, "a wait for a descriptor of a source does not keep its loop running") {
  const switches source(loop);
  eddy::readiness one(loop, switches::first);
  one.wait_readable([](std::error_code) { FAIL("it is not ready"); });
  CHECK(loop.count().waiting == 0);
  loop.run();
  CHECK(one.waiting(direction::read));
  one.background(false);
  CHECK(loop.count().waiting == 1);
  one.stop();
  CHECK(loop.count().waiting == 0);
}

TEST_CASE_FIXTURE(with_loop, "real descriptors and those of a source are watched side by side") {
  switches source(loop);
  const socket_pair pair;
  eddy::readiness real(loop, pair.near());
  eddy::readiness other(loop, switches::first);
  journal note;
  real.wait_readable([&](std::error_code) {
    note("real");
    source.set(switches::first, direction::read);
  });
  other.wait_readable(noting(note, "other"));
  pair.send("x");
  loop.run();
  CHECK(note == "real other");
}

TEST_CASE_FIXTURE(with_loop, "a descriptor_watch refuses a descriptor of a source") {
  const switches source(loop);
  eddy::descriptor_watch watch(loop, switches::first);
  const auto never = [](eddy::result<eddy::descriptor_events>) { FAIL("it is not watched"); };
  CHECK_THROWS_AS(watch.start(eddy::descriptor_events::readable, never), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "a second source of a loop aborts the program") {
  dies_saying("a second stand-in for the kernel", [] {
    eddy::event_loop one;
    const switches first(one);
    const switches second(one);
  });
}
