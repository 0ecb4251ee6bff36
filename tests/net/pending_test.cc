// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/net/pending.h> promises.
#include <eddy/net/pending.h>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/detail/recycler.h>
#include <eddy/net/connect.h>
#include <eddy/net/resolve.h>
#include <eddy/net/tcp_listener.h>

#include "support/tidy.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::pending>);
static_assert(!std::is_copy_constructible_v<eddy::pending>);

namespace {

struct with_listener : with_loop {
  eddy::tcp_listener listener{loop, eddy::address::loopback_v4(0)};

  eddy::pending begin(int& called) {
    return eddy::connect(loop, listener.local_address(),
                         [&called](const eddy::result<eddy::tcp_stream>&) { ++called; });
  }
};

}  // namespace

TEST_CASE_FIXTURE(with_listener, "it is active until its handler is called") {
  int called = 0;
  const eddy::pending p = begin(called);
  CHECK(p.active());
  loop.run();
  CHECK(called == 1);
  CHECK_FALSE(p.active());
}

TEST_CASE_FIXTURE(with_listener, "ending it drops the handler") {
  int called = 0;
  eddy::pending p = begin(called);
  SUBCASE("stopped") { p.stop(); }
  SUBCASE("destroyed") { const eddy::pending gone = std::move(p); }
  SUBCASE("assigned to") { p = eddy::pending(); }
  SUBCASE("stopped when it is under way") {
    loop.run_ready();
    p.stop();
  }
  CHECK_FALSE(p.active());
  loop.run();
  CHECK(called == 0);
}

TEST_CASE_FIXTURE(with_listener, "it may be moved meanwhile") {
  int called = 0;
  eddy::pending first = begin(called);
  loop.run_ready();
  const eddy::pending second = std::move(first);
  CHECK(second.active());
  loop.run();
  CHECK(called == 1);
  CHECK_FALSE(second.active());
}

TEST_CASE_FIXTURE(with_listener, "assigned to itself it goes on") {
  int called = 0;
  eddy::pending p = begin(called);
  eddy::pending& same = p;
  p = std::move(same);
  CHECK(p.active());
  loop.run();
  CHECK(called == 1);
}

TEST_CASE_FIXTURE(with_listener, "the handler may destroy it") {
  std::optional<eddy::pending> p;
  p.emplace(eddy::connect(loop, listener.local_address(),
                          [&p](const eddy::result<eddy::tcp_stream>&) { p.reset(); }));
  loop.run();
  CHECK_FALSE(p.has_value());
}

TEST_CASE_FIXTURE(with_listener, "its handler is called once though memory is short at any step") {
  using eddy::detail::failing_allocations;
  const auto each_step = [&](auto begin_with) {
    bool failed = true;
    for (std::size_t spared = 0; failed; ++spared) {
      CAPTURE(spared);
      int called = 0;
      std::error_code error;
      const auto on_end = [&](const auto& r) {
        ++called;
        error = r ? std::error_code() : r.error();
      };
      eddy::pending p;
      {
        const failing_allocations one(spared, failing_allocations::times::once);
        try {
          p = begin_with(on_end);
        } catch (const std::bad_alloc&) {
          continue;
        }
        loop.run();
        failed = one.failed();
      }
      CHECK(called == 1);
      CHECK((!error || error == std::errc::not_enough_memory));
      REQUIRE(spared < 100);
    }
  };
  const eddy::address to = listener.local_address();
  SUBCASE("a connect") {
    each_step([&](auto on_end) { return eddy::connect(loop, to, on_end); });
  }
  SUBCASE("a look-up") {
    each_step([&](auto on_end) { return eddy::resolve(loop, "localhost", 80, on_end); });
  }
  SUBCASE("a connect by name") {
    each_step([&](auto on_end) { return eddy::connect(loop, "localhost", to.port(), on_end); });
  }
}

TEST_CASE("one that was never begun does nothing") {
  eddy::pending none;
  CHECK_FALSE(none.active());
  none.stop();
}
