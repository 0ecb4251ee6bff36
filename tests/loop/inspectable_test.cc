// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/inspectable.h>.
#include <eddy/loop/inspectable.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>

#include "support/forked.h"
#include "support/tidy.h"

namespace {

struct says final : eddy::inspectable {
  says(eddy::event_loop& l, std::string w) : inspectable(l), words(std::move(w)) {}
  void describe(eddy::description& to) const override { to.add(words); }
  std::string words;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a dump describes inspectable objects in the order they were made") {
  const says first(loop, "waits for a reply");
  auto gone = std::make_unique<says>(loop, "is gone");
  const says second(loop, "waits for the tide");
  gone.reset();

  CHECK(loop.count().tasks == 2);
  CHECK(loop.dump() == "2 tasks:\n  waits for a reply\n  waits for the tide\n");
}

TEST_CASE_FIXTURE(with_still_loop, "a dump counts the objects that are alive on the loop") {
  CHECK(loop.dump() == "");

  loop.defer([] {});
  eddy::timer timer(loop);
  timer.start(std::chrono::hours(1), [] {});
  const eddy::work_guard kept(loop);
  CHECK(loop.dump() == "1 ready to run\n1 timers set\n1 work_guard\n");

  loop.run_ready();
  timer.stop();
}

TEST_CASE_FIXTURE(with_still_loop, "dump_json has the counts, and the tasks as trees") {
  CHECK(loop.dump_json() ==
        R"({"ready":0,"timers":0,"watched":0,"waiting":0,"work_guard":0,"tasks":[]})");

  const says reply(loop, "a reply");
  const says bell(loop, "a bell");
  const eddy::work_guard kept(loop);
  CHECK(loop.dump_json() ==
        R"({"ready":0,"timers":0,"watched":0,"waiting":0,"work_guard":1,"tasks":[)"
        R"({"waits_for":"a reply"},{"waits_for":"a bell"}]})");
}

TEST_CASE_FIXTURE(with_loop, "a daemon can dump its loop in a signal's handler") {
  const says one(loop, "waits for a reply");
  std::string told;
  eddy::signal asked(loop, SIGUSR1);
  asked.start([&] {
    told = loop.dump();
    asked.stop();
  });
  ::raise(SIGUSR1);
  loop.run();
  CHECK(told.ends_with("1 tasks:\n  waits for a reply\n"));
}

TEST_CASE("destroying a loop before the objects on it names these objects") {
  const tidy leaves_nothing;
  dies_saying("destroy these first:\n1 tasks:\n  waits for a reply\n", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    const says one(*loop, "waits for a reply");
    loop.reset();
  });
}

TEST_CASE_FIXTURE(with_loop, "an object that moves between lists is counted once") {
  struct moving final : eddy::inspectable {
    using inspectable::inspectable;
    using inspectable::list;
    using inspectable::list_in;
    void describe(eddy::description& to) const override { to.add("is listed"); }
  };
  eddy::detail::list_node elsewhere;
  moving task(loop);
  task.list_in(elsewhere);
  CHECK(loop.dump() == "1 tasks:\n");
  task.list();
  CHECK(loop.dump() == "1 tasks:\n  is listed\n");
}
