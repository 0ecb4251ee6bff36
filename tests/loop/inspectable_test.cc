// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/loop/inspectable.h> promises.
#include <eddy/loop/inspectable.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/keep_alive.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>

#include "support/forked.h"
#include "support/tidy.h"

namespace {

struct says final : eddy::inspectable {
  says(eddy::event_loop& l, std::string w) : inspectable(l), words(std::move(w)) {}
  void describe(std::string& out) const override { out += words + "\n"; }
  std::string words;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a dump asks what is inspectable, in the order it was made") {
  const says first(loop, "waits for a reply");
  auto gone = std::make_unique<says>(loop, "is gone");
  const says second(loop, "waits for the tide");
  gone.reset();

  CHECK(loop.count().tasks == 2);
  CHECK(loop.dump() == "2 tasks:\n  waits for a reply\n  waits for the tide\n");
}

TEST_CASE_FIXTURE(with_still_loop, "a dump counts what is alive on the loop") {
  CHECK(loop.dump() == "");

  loop.defer([] {});
  eddy::timer timer(loop);
  timer.start(std::chrono::hours(1), [] {});
  const eddy::keep_alive kept(loop);
  CHECK(loop.dump() == "1 ready to run\n1 timers set\n1 keep_alive\n");

  loop.run_ready();
  timer.stop();
}

TEST_CASE_FIXTURE(with_still_loop, "a dump for programs has the counts, and the tasks as trees") {
  CHECK(loop.dump_json() ==
        R"({"ready":0,"timers":0,"watched":0,"waiting":0,"keep_alive":0,"tasks":[]})");

  const says tree(loop,
                  "get<int> at client.cc:42: all of\n"
                  "  ns::ask at client.cc:17: read 127.0.0.1:80\n"
                  "    deeper at x.cc:1: a \"quoted\" \\ word\n"
                  "  the tide: at last");
  const says other(loop, "a bell\a");
  const eddy::keep_alive kept(loop);
  CHECK(loop.dump_json() ==
        R"({"ready":0,"timers":0,"watched":0,"waiting":0,"keep_alive":1,"tasks":[)"
        R"({"function":"get<int>","file":"client.cc","line":42,"waits_for":"all of","below":[)"
        R"({"function":"ns::ask","file":"client.cc","line":17,"waits_for":"read 127.0.0.1:80",)"
        R"("below":[{"function":"deeper","file":"x.cc","line":1,)"
        R"("waits_for":"a \"quoted\" \\ word"}]},)"
        R"({"waits_for":"the tide: at last"}]},{"waits_for":"a bell\u0007"}]})");
}

TEST_CASE_FIXTURE(with_still_loop, "a dump for programs is UTF-8, whatever the words are") {
  const auto tasks = [this](const std::string& words) {
    const says one(loop, words);
    const std::string all = loop.dump_json();
    return all.substr(all.find(R"("waits_for":")") + 13);
  };
  CHECK(tasks("caf\u00e9 \u20ac \U0001f600") == "caf\u00e9 \u20ac \U0001f600\"}]}");
  CHECK(tasks("caf\xe9") == R"(caf\u00e9"}]})");
  for (const char* const wrong : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                  "\xf8\x88\x80\x80\x80", "\xe2\x82", "\x80"}) {
    const std::string told = tasks(wrong);
    CHECK(std::ranges::none_of(told, [](char c) { return static_cast<unsigned char>(c) > 0x7f; }));
  }
}

TEST_CASE_FIXTURE(with_still_loop, "each of several is a tree of its own, however it is indented") {
  const says left(loop, "left\n  below left");
  const says right(loop, "    right\n      below right\n  outside right");
  const says last(loop, "last");
  CHECK(loop.dump() ==
        "3 tasks:\n  left\n    below left\n  right\n    below right\n  outside right\n  last\n");
  CHECK(loop.dump_json().ends_with(
      R"("tasks":[{"waits_for":"left","below":[{"waits_for":"below left"}]},)"
      R"({"waits_for":"right","below":[{"waits_for":"below right"}]},)"
      R"({"waits_for":"outside right"},{"waits_for":"last"}]})"));
}

TEST_CASE_FIXTURE(with_loop, "a daemon can tell what it waits for when a signal asks") {
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

TEST_CASE("a loop that is destroyed before what is on it names it") {
  const tidy leaves_nothing;
  dies_saying("must go first:\n1 tasks:\n  waits for a reply\n", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    const says one(*loop, "waits for a reply");
    loop.reset();
  });
}

TEST_CASE_FIXTURE(with_loop, "what goes from list to list is counted once") {
  struct moving final : eddy::inspectable {
    using inspectable::inspectable;
    using inspectable::list;
    using inspectable::list_in;
    void describe(std::string& out) const override { out += "is listed\n"; }
  };
  eddy::detail::link elsewhere;
  moving task(loop);
  task.list_in(elsewhere);
  CHECK(loop.dump() == "1 tasks:\n");
  task.list();
  CHECK(loop.dump() == "1 tasks:\n  is listed\n");
}

TEST_CASE_FIXTURE(with_loop, "control characters in words are escaped for programs") {
  const says task(loop, "a \x1f and a \x01");
  CHECK(loop.dump_json().contains(R"("a \u001f and a \u0001")"));
}
