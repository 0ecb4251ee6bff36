// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/several_errors.h> and event_loop::raise.
#include <eddy/loop/several_errors.h>

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/event_loop.h>

#include "support/any_loop.h"
#include "support/journal.h"
#include "support/tidy.h"

namespace {

std::exception_ptr error(const char* words) {
  return std::make_exception_ptr(std::runtime_error(words));
}

std::string words_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return x.what();
  }
}

}  // namespace

TEST_CASE_TEMPLATE("a single raised error leaves the next run unchanged", Loop, own_loop,
                   hosted_loop, adopted_loop) {
  Loop on;
  on.loop.raise(error("one"));
  CHECK_THROWS_WITH_AS(on.loop.run(), "one", std::runtime_error);
  on.loop.run();
}

TEST_CASE_TEMPLATE("several raised errors leave run together, in their order", Loop, own_loop,
                   hosted_loop, adopted_loop) {
  Loop on;
  on.loop.defer([&] {
    for (const char* words : {"one", "two", "three"}) on.loop.raise(error(words));
  });
  try {
    on.loop.run();
    FAIL("nothing came");
  } catch (const eddy::several_errors& several) {
    CHECK(std::string(several.what()) == "several errors: one; two; three");
    REQUIRE(several.errors().size() == 3);
    CHECK(words_of(several.errors()[2]) == "three");
    const eddy::several_errors copy = several;
    CHECK(copy.errors().data() == several.errors().data());
  }
  on.loop.run();
}

TEST_CASE_TEMPLATE("on_exception gets each raised error separately", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  on.loop.on_exception([&](const std::exception_ptr& e) { note(words_of(e)); });
  on.loop.raise(error("one"));
  on.loop.raise(error("two"));
  on.loop.defer([&] { note("goes on"); });
  on.run();
  CHECK(note == "one goes on two");
}

TEST_CASE_FIXTURE(tidy, "errors raised after the last run go to on_exception, too") {
  journal note;
  {
    eddy::event_loop loop;
    loop.on_exception([&](const std::exception_ptr& e) { note(words_of(e)); });
    loop.raise(error("one"));
    loop.raise(error("two"));
  }
  CHECK(note == "one two");
}

TEST_CASE_FIXTURE(tidy, "rethrow_raised reports raised errors without running the loop") {
  eddy::event_loop loop;
  loop.rethrow_raised();
  bool ran = false;
  loop.defer([&] { ran = true; });
  loop.raise(error("one"));
  CHECK_THROWS_WITH(loop.rethrow_raised(), "one");
  loop.raise(error("two"));
  CHECK_THROWS_WITH(loop.rethrow_raised(error("own")), "several errors: own; two");
  loop.raise(error("three"));
  const eddy::several_errors own({error("one"), error("two")});
  try {
    loop.rethrow_raised(std::make_exception_ptr(own));
  } catch (const eddy::several_errors& e) {
    CHECK(e.errors().size() == 3);
  }
  CHECK_FALSE(ran);
  loop.run();
  CHECK(ran);
}

TEST_CASE_FIXTURE(tidy,
                  "errors are reported one by one if there is no memory to report them together") {
  eddy::event_loop loop;
  loop.raise(error("one"));
  loop.raise(error("two"));
  {
    const eddy::detail::failing_allocations none(
        0, eddy::detail::failing_allocations::times::for_good);
    try {
      loop.rethrow_raised();
      FAIL_CHECK("nothing came");
    } catch (const std::exception& e) {
      const eddy::detail::failing_allocations::pardon own;
      CHECK_MESSAGE((std::string(e.what()) == "one" || std::string(e.what()) == "std::bad_alloc"),
                    e.what());
    }
  }
  int left = 0;
  for (int i = 0; i < 3; ++i) {
    try {
      loop.run();
    } catch (const eddy::several_errors& e) {
      left += static_cast<int>(e.errors().size());
    } catch (const std::exception&) {
      ++left;
    }
  }
  CHECK(left >= 1);
}

TEST_CASE_FIXTURE(tidy, "an error that rethrow_raised has reported is not reported again") {
  eddy::event_loop loop;
  journal note;
  loop.on_exception([&](const std::exception_ptr& e) { note(words_of(e)); });
  loop.raise(error("one"));
  loop.rethrow_raised();
  CHECK(note == "one");
  CHECK(loop.count().ready == 0);
  loop.run();
  CHECK(note == "one");
}

TEST_CASE_FIXTURE(tidy, "errors raised after all earlier ones were reported are reported, too") {
  eddy::event_loop loop;
  journal note;
  loop.on_exception([&](const std::exception_ptr& e) { note(words_of(e)); });
  for (const char* const words : {"one", "two", "three"}) {
    loop.raise(error(words));
    loop.raise(error("more"));
    loop.run();
  }
  CHECK(note == "one more two more three more");
}

TEST_CASE("the message of several_errors has a length limit") {
  const std::string words(1000, 'x');
  const eddy::several_errors all(std::vector<std::exception_ptr>(20, error(words.c_str())));
  CHECK(all.errors().size() == 20);
  CHECK(std::string(all.what()).size() <= 4096 + 4);
  CHECK(std::string(all.what()).ends_with(" ..."));
}
