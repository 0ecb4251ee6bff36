// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <unistd.h>

#include <eddy/future/block_on.h>
#include <eddy/future/task.h>

#include "support/tidy.h"

/// A fixture for tests with coroutines: a loop whose clock jumps to the next deadline.
/// The test must leave no work on the loop, no coroutine frame and no open descriptor.
class async_fixture : public with_jumping_loop {
public:
  ~async_fixture() { CHECK(eddy::frame_count() == frames_); }

  /// Runs a test's body. A deadlock fails the test at once; SIGALRM ends a test after 60 s.
  void run(eddy::task<> body) {
    ::alarm(60);
    try {
      eddy::block_on(loop, std::move(body));
    } catch (const eddy::deadlock& e) {
      FAIL_CHECK(std::string(e.what()));
    }
    ::alarm(0);
  }

private:
  std::size_t frames_ = eddy::frame_count();
};

/// A test case whose body is a coroutine, a member of a fixture with `loop` and `clock`.
#define ASYNC_TEST(name) ASYNC_TEST_NAMED(DOCTEST_ANONYMOUS(async_test_), name)
#define ASYNC_TEST_NAMED(fixture, name) \
  namespace {                           \
  struct fixture : async_fixture {      \
    eddy::task<> body();                \
  };                                    \
  }                                     \
  TEST_CASE(name) {                     \
    fixture f;                          \
    f.run(f.body());                    \
  }                                     \
  eddy::task<> fixture::body()
