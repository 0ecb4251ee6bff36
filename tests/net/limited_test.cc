// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/limited.h>.
#include <eddy/net/limited.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"

using namespace std::chrono_literals;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::join;
using eddy::limited;
using eddy::limited_stream;
using eddy::task;

static_assert(eddy::byte_stream<limited_stream>);

namespace {

template <eddy::byte_stream S>
task<std::size_t> size_of(S& from) {
  std::size_t all = 0;
  for (;;) {
    std::array<char, 4096> buffer;
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) co_return all;
    all += n;
  }
}

template <eddy::byte_stream S>
task<> say(S& to, std::string bytes) {
  co_await to.write(bytes);
  co_await eddy::detail::shut_down(to);
}

}  // namespace

ASYNC_TEST("10,000 written bytes at 1,000 a second take 10 s, less the burst") {
  auto [a, b] = duplex(100'000, 1);
  limited_stream slow = limited(std::move(a), 1000, 500);
  const eddy::time_point begin = loop.now();
  auto both = join(say(slow, std::string(10'000, 'x')), size_of(b));
  const auto [nothing, size] = co_await std::move(both);
  CHECK(size == 10'000);
  CHECK(loop.now() - begin >= 9500ms);
  CHECK(loop.now() - begin <= 9520ms);
}

ASYNC_TEST("10,000 bytes that are read at 1,000 a second take 10 s, less the burst") {
  auto [a, b] = duplex(100'000, 1);
  limited_stream slow = limited(std::move(b), 1000, 500);
  const eddy::time_point begin = loop.now();
  auto both = join(say(a, std::string(10'000, 'x')), size_of(slow));
  const auto [nothing, size] = co_await std::move(both);
  CHECK(size == 10'000);
  CHECK(loop.now() - begin >= 9490ms);
  CHECK(loop.now() - begin <= 9530ms);
}

ASYNC_TEST("after a silence, a burst passes at once, and no more than one burst is saved") {
  auto [a, b] = duplex(100'000, 1);
  limited_stream slow = limited(std::move(a), 100, 50);
  co_await eddy::sleep(1h);
  const eddy::time_point begin = loop.now();
  co_await slow.write(std::string_view("12345678901234567890123456789012345678901234567890"));
  CHECK(loop.now() == begin);
  co_await slow.write(std::string_view("1"));
  CHECK(loop.now() > begin);
}

ASYNC_TEST("the lowest and the highest rate work") {
  auto [a, b] = duplex(100, 1);
  std::uint64_t rate = 1;
  SUBCASE("a byte a second") {}
  SUBCASE("the highest") { rate = UINT64_MAX; }
  limited_stream slow = limited(std::move(a), rate, rate == 1 ? 1 : SIZE_MAX);
  const eddy::time_point begin = loop.now();
  co_await slow.write(std::string_view("abc"));
  CHECK(b.unread() == 3);
  CHECK(loop.now() - begin == (rate == 1 ? 2s : 0s));
}

ASYNC_TEST("a read that is cancelled while it waits for its rate loses no bytes") {
  auto [a, b] = duplex(100, 1);
  limited_stream slow = limited(std::move(b), 1, 1);
  co_await a.write(std::string_view("ab"));
  std::array<char, 4> buffer;
  const std::size_t one = co_await slow.read(buffer);
  CHECK(one == 1);
  auto first = co_await eddy::select(eddy::sleep(100ms), slow.read(buffer));
  CHECK(first.index() == 0);
  const std::size_t two = co_await slow.read(buffer);
  CHECK(two == 1);
  CHECK(buffer[0] == 'b');
}

ASYNC_TEST("a write to a limited stream around a buffered stream is flushed at its rate") {
  auto [a, b] = duplex(1000, 1);
  limited_stream slow = limited(eddy::buffered(std::move(a)), 10, 10);
  auto writing = eddy::spawn(say(slow, std::string(20, 'x')));
  co_await eddy::sleep(1ms);
  CHECK(b.unread() == 10);
  co_await eddy::sleep(500ms);
  CHECK(b.unread() == 15);
  co_await std::move(writing);
  CHECK(b.unread() == 20);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a limited stream has forms with a handler") {
  auto [a, b] = duplex(loop, 100, 100);
  limited_stream slow = limited(std::move(a), 1, 1);
  bool written = false;
  slow.write(std::string_view("abc"), [&](eddy::result<void> r) { written = r.has_value(); });
  loop.run();
  CHECK(written);
  CHECK(b.unread() == 3);
}

namespace {

struct writes_slowly {
  explicit writes_slowly(eddy::trial& t) : of(t), ends(duplex(t.loop(), 4, 4)) {}
  task<> work() {
    const eddy::trial::part held(of);
    limited_stream slow = limited(std::move(ends.first), 2, 2);
    auto both = join(say(slow, "12345"), size_of(ends.second));
    const auto [nothing, size] = co_await std::move(both);
    CHECK(size == 5);
  }
  eddy::trial& of;
  std::pair<duplex_stream, duplex_stream> ends;
};

}  // namespace

TEST_CASE("a second read or write of a limited stream aborts the program with a sentence") {
  const auto with_stream = [](auto mistake) {
    return [mistake] {
      eddy::event_loop loop;
      auto [a, b] = duplex(loop, 100, 100);
      limited_stream slow = limited(std::move(a), 1, 1);
      mistake(loop, slow, b);
    };
  };
  dies_saying("a write is already pending on this stream",
              with_stream([](auto& loop, limited_stream& slow, duplex_stream&) {
                auto first = eddy::spawn(loop, slow.write(std::string_view("xy")));
                auto second = eddy::spawn(loop, slow.write(std::string_view("z")));
                loop.run();
              }));
  dies_saying("a write is already pending on this stream",
              with_stream([](auto& loop, limited_stream& slow, duplex_stream&) {
                auto first = eddy::spawn(loop, slow.write(std::string_view("xy")));
                auto second = eddy::spawn(loop, slow.shutdown());
                loop.run();
              }));
  dies_saying("a read is already pending on this stream",
              with_stream([](auto& loop, limited_stream& slow, duplex_stream& peer) {
                std::array<char, 1> byte{};
                CHECK(peer.try_write(std::string_view("abc")).has_value());
                eddy::block_on(loop, slow.read(byte));
                auto first = eddy::spawn(loop, slow.read(byte));
                auto second = eddy::spawn(loop, slow.read(byte));
                loop.run();
              }));
}

TEST_CASE("limited: a slow write is ended at every point") {
  check_report(eddy::every_point<writes_slowly>());
  check_report(eddy::every_point<writes_slowly>(1));
}
