// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/event_loop.h> when the program forks.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/loop/descriptor_watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/asleep.h"
#include "support/descriptor_refusal.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

/// Returns how many descriptors a program executed by this process would get.
std::size_t inherited_descriptors() {
  std::size_t count = 0;
  for (int number = 0; number < 1024; ++number) {
    const int flags = ::fcntl(number, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE_TEMPLATE("the child of a fork may run its copy of the loop without disturbing the parent",
                   Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  socket_pair other;
  journal note;
  eddy::readiness near(on.loop, pair.near());
  eddy::readiness far(on.loop, other.near());
  near.wait_readable([&](std::error_code) { note("readable"); });
  far.wait_readable([&](std::error_code) { note("other"); });
  eddy::timer coarse(on.loop);
  coarse.start(10ms, [&] { note("coarse"); });
  eddy::timer fine(on.loop);
  fine.start(11ms, [&] { note("fine"); }, eddy::resolution::fine);
  on.loop.run_ready();

  SUBCASE("when the child runs its copy") {
    CHECK(holds_in_child([&] {
      far.stop();
      eddy::timer sender(on.loop);
      sender.start(1ms, [&] { on.loop.post([&] { pair.send(); }); });
      on.run();
      static_cast<void>(pair.receive());
      const std::string told = note.text();
      return told.contains("readable") && told.contains("coarse") &&
             told.find("coarse") < told.find("fine") && told.contains("fine") &&
             !told.contains("other");
    }));
    CHECK(note == "");
  }
  SUBCASE("when the child only destroys its copy") {
    // The child destroys its copy; the loop's destructor comes last.
    const ::pid_t pid = ::fork();
    if (pid == 0) {
      near.stop();
      far.stop();
      coarse.stop();
      fine.stop();
      {
        Loop inner;
        inner.run();
      }
      ::_exit(0);
    }
    CHECK(end_of(pid) == 0);
  }
  pair.send();
  other.send();
  on.run();
  CHECK(note.text().contains("readable"));
  CHECK(note.text().contains("other"));
  CHECK(note.text().contains("coarse"));
  CHECK(note.text().contains("fine"));
}

TEST_CASE_TEMPLATE("functions posted before a fork run in both processes", Loop, ANY_LOOP) {
  Loop on;
  eddy::timer keeps(on.loop);
  keeps.start(1h, [] {});
  on.loop.post([&] { keeps.stop(); });
  CHECK(holds_in_child([&] {
    on.run();
    return !keeps.active();
  }));
  on.run();
  CHECK_FALSE(keeps.active());
}

TEST_CASE_FIXTURE(tidy, "destroying the child's copy of a loop leaves the parent's timers") {
  std::optional<eddy::event_loop> loop(std::in_place);
  std::optional<eddy::timer> fine(std::in_place, *loop);
  bool rang = false;
  fine->start(20ms, [&] { rang = true; }, eddy::resolution::fine);
  std::optional<eddy::timer> tick(std::in_place, *loop);
  tick->start(1ms, [] {}, eddy::resolution::fine);
  while (tick->active()) loop->run_once();
  // The timer descriptor is set for the other timer when the loop waits again.
  std::thread waker([remote = loop->handle(), runner = ::gettid()] {
    wait_until_asleep(runner);
    remote.post([] {});
  });
  loop->run_once();
  waker.join();

  CHECK(holds_in_child([&] {
    fine.reset();
    tick.reset();
    loop.reset();
    return true;
  }));
  eddy::timer watchdog(*loop);
  watchdog.background(true);
  loop->run();
  CHECK(rang);
  fine.reset();
  tick.reset();
}

TEST_CASE_FIXTURE(tidy, "the child of a fork renews its loop when no descriptor is free") {
  eddy::event_loop loop;
  eddy::timer timer(loop);
  bool rang = false;
  timer.start(1ms, [&] { rang = true; }, eddy::resolution::fine);
  loop.run();
  timer.start(1ms, [&] { rang = true; }, eddy::resolution::fine);
  rang = false;
  loop.run_ready();
  CHECK(holds_in_child([&] {
    use_up_descriptors();
    loop.run();
    bool posted = false;
    loop.post([&] { posted = true; });
    loop.run();
    return rang && posted;
  }));
  loop.run();
  CHECK(rang);
}

TEST_CASE_TEMPLATE("a forked child that gets no descriptor says so and watches again later", Loop,
                   ANY_LOOP) {
  const temporary_directory directory;
  Loop on;
  const socket_pair pair;
  journal note;
  const socket_pair other;
  eddy::readiness waits(on.loop, other.near());
  waits.background(true);
  waits.wait_readable([](std::error_code) {});
  eddy::descriptor_watch watch(on.loop, pair.near());
  eddy::file_watch files(on.loop, directory.path());
  eddy::signal usr1(on.loop, SIGUSR1);
  const auto end = [&] {
    watch.stop();
    files.stop();
    usr1.stop();
  };
  const auto noted = [&](const char* what) {
    note(what);
    if (note.text().size() == std::string("events file signal").size()) end();
  };
  watch.start(eddy::descriptor_events::readable, [&](const auto&) {
    pair.receive();
    noted("events");
  });
  files.start(
      [&](const eddy::file_event& event) {
        noted(event.what == eddy::file_change::overflow ? "lost" : "file");
      },
      eddy::file_change::created);
  usr1.start([&] { noted("signal"); });
  int errors = 0;
  on.loop.on_exception([&](const std::exception_ptr& e) {
    ++errors;
    CHECK_THROWS_WITH_AS(std::rethrow_exception(e),
                         "renewing a loop after fork: Too many open files", std::system_error);
  });
  on.loop.run_ready();

  CHECK(holds_in_child([&] {
    // The first attempts ask twice each. libev asks later in the same turn, for the readiness.
    {
      const descriptor_refusal both(4);
      on.loop.run_ready();
    }
    {
      const descriptor_refusal one(1);
      while (errors < 3) on.loop.run_once();
    }
    ::raise(SIGUSR1);
    pair.send();
    on.run();
    return errors == 3 && note.text().contains("lost") && note.text().contains("events") &&
           note.text().contains("signal");
  }));
  CHECK(holds_in_child([&] {  // a stop in between leaves nothing, and a start reports the error
    {
      const descriptor_refusal both(4);
      on.loop.run_ready();
    }
    const descriptor_refusal again(2);
    watch.stop();
    files.stop();
    usr1.stop();
    const auto failure =
        code_from([&] { watch.start(eddy::descriptor_events::readable, [](const auto&) {}); });
    const auto of_files = code_from([&] { files.start([](const eddy::file_event&) {}); });
    on.run();
    return failure == std::errc::too_many_files_open &&
           of_files == std::errc::too_many_files_open && !watch.active() && !files.active();
  }));
  pair.send();
  ::raise(SIGUSR1);
  const std::ofstream made(directory / "b");
  on.run();
  CHECK(errors == 0);
  CHECK(note.text().size() == std::string("events file signal").size());
}

TEST_CASE_FIXTURE(with_loop, "a fork in the midst of a turn takes no event from the parent") {
  const temporary_directory directory;
  const socket_pair pair;
  journal note;
  std::optional<::pid_t> forked;
  eddy::file_watch files(loop, directory.path());
  files.start([&](const eddy::file_event& event) { note(event.name); }, eddy::file_change::created);
  eddy::descriptor_watch watch(loop, pair.near());
  watch.start_once(eddy::descriptor_events::readable, [&](const auto&) { note("events"); });
  loop.run_ready();
  // The handler forks when the hubs of both watches are in the queue behind it.
  const std::ofstream made(directory / "a");
  pair.send();
  eddy::timer due(loop);
  due.start(0ms, [&] {
    forked = ::fork();
    // The child's turn comes first.
    if (*forked != 0) CHECK(end_of(*forked) == 0);
  });
  while (!forked || *forked == 0) {
    loop.run_ready();
    if (forked && *forked == 0) {
      files.stop();
      watch.stop();
      ::_exit(note == "" ? 0 : 1);
    }
  }
  for (int i = 0; i < 3; ++i) loop.run_ready();
  CHECK(note.text().contains("events"));
  CHECK(note.text().contains("a"));
  files.stop();
}

TEST_CASE_FIXTURE(with_loop,
                  "a descriptor that libev cannot watch any more does not end the child") {
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  std::error_code got;
  near.wait_readable([&](std::error_code error) { got = error; });
  loop.run_ready();
  const auto is_told = [&] {
    loop.run();
    return got == std::errc::bad_file_descriptor;
  };
  CHECK(holds_in_child([&] {
    pair.close_near();
    return is_told();
  }));
  CHECK(holds_in_child([&] {  // the number only names a file by then
    const int path = ::open("/", O_PATH | O_CLOEXEC);
    return ::dup3(path, pair.near(), O_CLOEXEC) == pair.near() && is_told();
  }));
  pair.send();
  loop.run();
  CHECK_FALSE(got);
}

TEST_CASE_FIXTURE(with_loop, "a fork in the midst of a turn gives the child a loop of its own") {
  std::optional<::pid_t> forked;
  bool after = false;
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  loop.defer([&] { forked = ::fork(); });
  loop.defer([&] {
    if (*forked == 0) {
      ::alarm(20);
      near.wait_readable([&](std::error_code) { after = true; });
      pair.send();
    }
  });
  loop.run();
  if (*forked == 0) ::_exit(after ? 0 : 1);
  CHECK(end_of(*forked) == 0);
  CHECK_FALSE(after);
}

TEST_CASE_TEMPLATE("stopping watches in the child of a fork leaves the parent's watches", Loop,
                   ANY_LOOP) {
  Loop on;
  socket_pair pair;
  bool told = false;
  std::optional<eddy::readiness> near(std::in_place, on.loop, pair.near());
  near->wait_readable([&](std::error_code) { told = true; });
  on.loop.run_ready();
  CHECK(holds_in_child([&] {
    near.reset();
    return true;
  }));
  pair.send();
  eddy::timer watchdog(on.loop);
  watchdog.background(true);
  watchdog.start(2s, [&] { near->stop(); });
  on.run();
  CHECK(told);
  watchdog.stop();
}

TEST_CASE_FIXTURE(tidy, "a program that is executed gets no descriptor of a loop") {
  const std::size_t before = inherited_descriptors();
  const temporary_directory directory;
  eddy::event_loop loop;
  eddy::file_watch watch(loop, directory.path());
  watch.start([](const eddy::file_event&) {});
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([] {});
  loop.run_ready();
  CHECK(inherited_descriptors() == before);
  // Nor does it get a descriptor that the child of a fork has renewed.
  CHECK(holds_in_child([&] {
    loop.run_ready();
    return inherited_descriptors() == before;
  }));
}

TEST_CASE_FIXTURE(with_loop, "the child of a fork has no more descriptors than its parent") {
  CHECK(holds_in_child([&] {
    const std::size_t before = open_descriptors();
    loop.run_ready();
    return open_descriptors() == before;
  }));
}

TEST_CASE_TEMPLATE("a descriptor that nobody waits for at a fork can be waited for in the child",
                   Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([](std::error_code) {});
  pair.send();
  on.run();
  for (int i = 0; i < 3; ++i) on.loop.run_ready();  // nobody reads: the watch stops
  CHECK(holds_in_child([&] {
    on.loop.run_ready();
    bool told = false;
    near.wait_readable([&](std::error_code error) { told = !error; });
    on.run();
    return told;
  }));
}

TEST_CASE_FIXTURE(with_loop,
                  "a timer that was waited for at a fork rings in the child and in the parent") {
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  pair.send();
  eddy::timer timer(loop);
  bool rang = false;
  do {
    rang = false;
    near.stop();
    near.wait_readable([](std::error_code) {});
    timer.start(100ms, [&] { rang = true; }, eddy::resolution::fine);
    loop.run_once();  // a wait, for which the kernel's timer is set
  } while (rang);  // on a busy machine that came too late
  SUBCASE("when the child waits for the same deadline") {
    CHECK(holds_in_child([&] {
      loop.run();
      return rang;
    }));
  }
  SUBCASE("when the child has waited for a later deadline") {
    CHECK(holds_in_child([&] {
      timer.stop();
      eddy::timer later(loop);
      later.start(1h, [] {});
      near.wait_readable([](std::error_code) {});
      loop.run_once();
      return !rang;
    }));
  }
  ::alarm(20);
  loop.run();
  ::alarm(0);
  CHECK(rang);
}

TEST_CASE_TEMPLATE(
    "the child of a fork must run its loop before it waits for the loop's descriptor", Loop,
    ANY_LOOP) {
  Loop on;
  on.loop.run_ready();
  CHECK(holds_in_child([&] { return on.loop.next_run() == 0ns; }));
}

TEST_CASE("the child of a fork can make loops even if another thread made loops at the fork") {
  std::atomic<bool> over = false;
  std::thread other([&] {
    while (!over) const eddy::event_loop made;
  });
  int good = 0;
  for (int i = 0; i < 50; ++i) {
    good += holds_in_child([] {
      const eddy::event_loop made;
      return true;
    });
  }
  over = true;
  other.join();
  CHECK(good == 50);
}
