// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/pending_operation.h>.
#include <eddy/net/pending_operation.h>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/net/connect.h>
#include <eddy/net/resolve.h>
#include <eddy/net/tcp_listener.h>

#include "support/tidy.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::pending_operation>);
static_assert(!std::is_copy_constructible_v<eddy::pending_operation>);

namespace {

struct with_listener : with_loop {
  eddy::tcp_listener listener{loop, eddy::address::loopback_v4(0)};

  eddy::pending_operation begin(int& called) {
    return eddy::connect(loop, listener.local_address(),
                         [&called](const eddy::result<eddy::tcp_stream>&) { ++called; });
  }
};

}  // namespace

TEST_CASE_FIXTURE(with_listener, "a pending_operation is active until its handler is called") {
  int called = 0;
  const eddy::pending_operation p = begin(called);
  CHECK(p.active());
  loop.run();
  CHECK(called == 1);
  CHECK_FALSE(p.active());
}

TEST_CASE_FIXTURE(with_listener, "cancelling a pending_operation destroys the handler") {
  int called = 0;
  eddy::pending_operation p = begin(called);
  SUBCASE("stopped") { p.stop(); }
  SUBCASE("destroyed") { const eddy::pending_operation gone = std::move(p); }
  SUBCASE("assigned to") { p = eddy::pending_operation(); }
  SUBCASE("stopped after it has started") {
    loop.run_ready();
    p.stop();
  }
  CHECK_FALSE(p.active());
  loop.run();
  CHECK(called == 0);
}

TEST_CASE_FIXTURE(with_listener,
                  "a pending_operation may be moved while its operation is pending") {
  int called = 0;
  eddy::pending_operation first = begin(called);
  loop.run_ready();
  const eddy::pending_operation second = std::move(first);
  CHECK(second.active());
  loop.run();
  CHECK(called == 1);
  CHECK_FALSE(second.active());
}

TEST_CASE_FIXTURE(with_listener, "a pending_operation that is assigned to itself stays active") {
  int called = 0;
  eddy::pending_operation p = begin(called);
  eddy::pending_operation& same = p;
  p = std::move(same);
  CHECK(p.active());
  loop.run();
  CHECK(called == 1);
}

TEST_CASE_FIXTURE(with_listener, "the handler may destroy its pending_operation") {
  std::optional<eddy::pending_operation> p;
  p.emplace(eddy::connect(loop, listener.local_address(),
                          [&p](const eddy::result<eddy::tcp_stream>&) { p.reset(); }));
  loop.run();
  CHECK_FALSE(p.has_value());
}

TEST_CASE_FIXTURE(with_listener, "the handler is called once, whichever allocation fails") {
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
      eddy::pending_operation p;
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

TEST_CASE("an empty pending_operation does nothing") {
  eddy::pending_operation none;
  CHECK_FALSE(none.active());
  none.stop();
}
