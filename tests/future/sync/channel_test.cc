// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/channel.h>.
#include <eddy/future/sync/channel.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;
using eddy::channel;
using eddy::channel_slot;
using eddy::task;
using eddy::trial;
using eddy::detail::failing_allocations;

static_assert(std::is_nothrow_move_constructible_v<channel_slot<int>>);
static_assert(!std::is_copy_constructible_v<channel_slot<int>>);
static_assert(!std::is_move_constructible_v<channel<int>>);

namespace {

task<> send_range(channel<int>& to, int from, int end) {
  for (int i = from; i != end; ++i) co_await to.send(i);
}

task<> receive_all(channel<int>& from, std::vector<int>& got) {
  while (auto next = co_await from.receive()) got.push_back(*next);
}

task<> receive_one(channel<int>& from, std::optional<int>& got) { got = co_await from.receive(); }

task<> send_one(channel<int>& to, int message, std::error_code& error) {
  const auto sent = co_await eddy::as_result(to.send(message));
  if (!sent) error = sent.error();
}

std::vector<int> numbers(int from, int end) {
  std::vector<int> all;
  for (int i = from; i != end; ++i) all.push_back(i);
  return all;
}

}  // namespace

ASYNC_TEST("messages arrive in order, whatever the capacity") {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{7},
                                     std::size_t{1000}, channel<int>::unlimited}) {
    channel<int> c(capacity);
    CHECK(c.capacity() == capacity);
    std::vector<int> got;
    auto receiver = eddy::spawn(receive_all(c, got));
    co_await send_range(c, 0, 500);
    c.close();
    co_await std::move(receiver);
    CHECK(got == numbers(0, 500));
  }
}

ASYNC_TEST("a send waits while the channel is full, and a receive while it is empty") {
  channel<int> c(2);
  auto sender = eddy::spawn(send_range(c, 0, 4));
  for (int i = 0; i < 5; ++i) co_await eddy::yield();
  CHECK(c.size() == 2);
  CHECK_FALSE(sender.ready());
  CHECK(loop.dump().contains("a place in a channel"));
  const auto first = co_await c.receive();
  CHECK(first == 0);
  CHECK(c.size() == 1);  // the sender sends when it resumes
  co_await eddy::yield();
  CHECK(c.size() == 2);
  std::vector<int> got;
  auto receiver = eddy::spawn(receive_all(c, got));
  co_await std::move(sender);
  for (int i = 0; i < 5; ++i) co_await eddy::yield();
  CHECK(loop.dump().contains("a message of a channel"));
  CHECK_FALSE(receiver.ready());
  c.close();
  co_await std::move(receiver);
  CHECK(got == numbers(1, 4));
}

ASYNC_TEST("with a capacity of 0, a send completes when a receiver waits") {
  channel<int> c(0);
  CHECK_FALSE(c.try_send(1));
  std::error_code error;
  auto sender = eddy::spawn(send_one(c, 2, error));
  co_await eddy::yield();
  CHECK_FALSE(sender.ready());
  CHECK(c.try_receive() == std::nullopt);  // the sender has not sent
  const auto got = co_await c.receive();
  CHECK(got == 2);
  co_await std::move(sender);
  std::optional<int> late;
  auto receiver = eddy::spawn(receive_one(c, late));
  co_await eddy::yield();
  CHECK(c.try_send(3));
  CHECK_FALSE(c.try_send(4));  // only one receiver
  co_await std::move(receiver);
  CHECK(late == 3);
}

ASYNC_TEST("a message whose receiver is cancelled goes to the next one, in its order") {
  for (const std::size_t capacity : {0U, 5U}) {
    channel<int> c(capacity);
    std::optional<int> lost;
    std::optional<int> first;
    std::optional<int> second;
    auto a = eddy::spawn(receive_one(c, lost));
    auto b = eddy::spawn(receive_one(c, first));
    auto d = eddy::spawn(receive_one(c, second));
    co_await eddy::yield();
    CHECK(c.try_send(1));
    CHECK(c.try_send(2));
    a = {};  // after the message was granted to it
    co_await std::move(b);
    co_await std::move(d);
    CHECK(first == 1);
    CHECK(second == 2);
    CHECK(lost == std::nullopt);
  }
}

ASYNC_TEST("a send that is cancelled has sent nothing, and its place goes to the next sender") {
  channel<int> c(1);
  CHECK(c.try_send(0));
  std::error_code error;
  auto a = eddy::spawn(send_one(c, 1, error));
  auto b = eddy::spawn(send_one(c, 2, error));
  co_await eddy::yield();
  SUBCASE("while it waits") {
    a = {};
    CHECK(c.try_receive() == 0);
  }
  SUBCASE("after the place was granted to it") {
    CHECK(c.try_receive() == 0);
    a = {};
  }
  co_await std::move(b);
  CHECK(c.try_receive() == 2);
  CHECK(c.try_receive() == std::nullopt);
  CHECK(!error);
}

ASYNC_TEST("nothing is lost in a select that another branch wins") {
  channel<int> c(3);
  std::vector<int> got;
  auto sender = eddy::spawn([&]() -> task<> {
    for (int i = 0; i < 300; ++i) {
      co_await c.send(i);
      if (i % 3 == 0) co_await eddy::sleep(1ms);
    }
    c.close();
  });
  for (bool open = true; open;) {
    auto either = co_await eddy::select(eddy::sleep(1ms), c.receive());
    if (either.index() == 0) continue;
    const auto& message = std::get<1>(either);
    if (message) got.push_back(*message);
    open = message.has_value();
  }
  co_await std::move(sender);
  CHECK(got == numbers(0, 300));
}

ASYNC_TEST("after close, receivers get what is there and then the end, and sends fail") {
  channel<int> c(2);
  CHECK(c.try_send(1));
  CHECK(c.try_send(2));
  std::error_code error;
  auto waiting = eddy::spawn(send_one(c, 3, error));
  co_await eddy::yield();
  CHECK_FALSE(c.closed());
  c.close();
  c.close();
  CHECK(c.closed());
  co_await std::move(waiting);
  CHECK(error == std::errc::broken_pipe);
  CHECK_FALSE(c.try_send(4));
  const auto failed = co_await eddy::as_result(c.send(5));
  CHECK(failed.error() == std::errc::broken_pipe);
  const auto no_place = co_await eddy::as_result(c.reserve());
  CHECK(no_place.error() == std::errc::broken_pipe);
  std::string words;
  try {
    co_await c.send(6);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "send to a channel that is closed: Broken pipe");
  std::vector<int> got;
  co_await receive_all(c, got);
  CHECK(got == numbers(1, 3));
  const auto end = co_await c.receive();
  CHECK(end == std::nullopt);
}

ASYNC_TEST("close tells the end to all receivers that wait, but not before the last message") {
  channel<int> c(1);
  std::optional<int> none = 0;
  std::optional<int> first = 0;
  std::optional<int> second = 0;
  auto a = eddy::spawn(receive_one(c, none));
  auto b = eddy::spawn(receive_one(c, first));
  auto d = eddy::spawn(receive_one(c, second));
  co_await eddy::yield();
  CHECK(c.try_send(1));
  c.close();
  a = {};  // the message was granted to it
  co_await std::move(b);
  co_await std::move(d);
  CHECK(none == 0);
  CHECK(first == 1);
  CHECK(second == std::nullopt);
}

ASYNC_TEST("a slot keeps its place until it is used or given back") {
  channel<std::unique_ptr<int>> c(2);
  channel_slot<std::unique_ptr<int>> slot = co_await c.reserve();
  CHECK(slot.held());
  CHECK(c.size() == 0);
  CHECK(c.try_send(std::make_unique<int>(1)));
  auto kept = std::make_unique<int>(2);
  CHECK_FALSE(c.try_send(std::move(kept)));
  CHECK(*kept == 2);  // NOLINT(bugprone-use-after-move): a send that fails leaves it
  {
    const failing_allocations none(0, failing_allocations::times::for_good);
    slot.send(std::move(kept));
  }
  CHECK_FALSE(slot.held());
  CHECK(**c.try_receive() == 1);
  CHECK(**c.try_receive() == 2);
  auto given_back = co_await c.reserve();
  auto other = co_await c.reserve();
  auto waiting = eddy::spawn([&]() -> task<> { co_await c.send(std::make_unique<int>(3)); });
  co_await eddy::yield();
  CHECK_FALSE(waiting.ready());
  given_back.release();
  co_await std::move(waiting);
  CHECK(c.size() == 1);
  c.close();
  CHECK(**c.try_receive() == 3);
  auto late = eddy::spawn([&]() -> task<int> {
    auto message = co_await c.receive();
    co_return message ? **message : -1;
  });
  co_await eddy::yield();
  SUBCASE("a message sent with a slot after close is received") {
    other.send(std::make_unique<int>(4));
    const int got = co_await std::move(late);
    CHECK(got == 4);
  }
  SUBCASE("the end comes when the last slot is given back") {
    CHECK_FALSE(late.ready());
    other = {};
    const int got = co_await std::move(late);
    CHECK(got == -1);
  }
}

ASYNC_TEST("receive_many takes at least one, and no more than it was told") {
  channel<int> c(10);
  std::vector<int> got;
  auto sender = eddy::spawn([&]() -> task<> {
    co_await eddy::sleep(1s);
    co_await send_range(c, 0, 8);
    c.close();
  });
  const std::size_t first = co_await c.receive_many(got, 3);
  CHECK(first == 3);  // the sender sent several before this receiver resumed
  co_await std::move(sender);
  const std::size_t second = co_await c.receive_many(got, 3);
  CHECK(second == 3);
  const std::size_t third = co_await c.receive_many(got, 100);
  CHECK(third == 2);
  const std::size_t end = co_await c.receive_many(got, 1);
  CHECK(end == 0);
  CHECK(got == numbers(0, 8));
}

ASYNC_TEST("receive_many leaves the messages that were granted to others") {
  channel<int> c(10);
  std::optional<int> other;
  std::vector<int> got;
  std::size_t count = 0;
  auto many = eddy::spawn([&]() -> task<> { count = co_await c.receive_many(got, 10); });
  auto one = eddy::spawn(receive_one(c, other));
  co_await eddy::yield();
  for (int i = 0; i < 3; ++i) CHECK(c.try_send(int{i}));
  co_await std::move(many);
  co_await std::move(one);
  CHECK(count == 2);
  CHECK(got.size() == 2);
  CHECK(other.has_value());
}

TEST_CASE_FIXTURE(async_fixture, "messages that nobody received are destroyed with the channel") {
  int alive = 0;
  {
    channel<counted> c(loop, channel<counted>::unlimited);
    for (int i = 0; i < 100; ++i) CHECK(c.try_send(counted(alive)));
    for (int i = 0; i < 30; ++i) CHECK(c.try_receive());
    CHECK(alive == 70);
  }
  CHECK(alive == 0);
}

ASYNC_TEST("a channel allocates nothing once it has grown, and starves nobody") {
  channel<int> c(64);
  for (int i = 0; i < 64; ++i) CHECK(c.try_send(int{i}));
  for (int i = 0; i < 64; ++i) CHECK(c.try_receive() == i);
  int got = 0;
  int at_timer = 0;
  auto receiver = eddy::spawn([&]() -> task<> {
    while (auto next = co_await c.receive()) got += *next >= 0 ? 1 : 0;
  });
  co_await eddy::yield();
  eddy::timer t(loop);
  t.start(0s, [&] { at_timer = got; });
  {
    const failing_allocations none(0, failing_allocations::times::for_good);
    for (int i = 0; i < 100'000; ++i) co_await c.send(i);
  }
  c.close();
  co_await std::move(receiver);
  CHECK(got == 100'000);
  CHECK(at_timer > 0);
  CHECK(at_timer < 2000);
}

ASYNC_TEST("a send without memory fails, and the channel goes on") {
  channel<int> c(4);
  {
    const failing_allocations none(0, failing_allocations::times::for_good);
    bool failed = false;
    try {
      co_await c.send(1);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    CHECK(failed);
  }
  CHECK(c.size() == 0);
  co_await c.send(2);
  CHECK(c.try_receive() == 2);
}

TEST_CASE("misuse of a channel aborts with a sentence") {
  dies_saying("a channel was destroyed before its waiters and slots", [] {
    eddy::event_loop loop;
    std::optional<channel<int>> c(std::in_place, loop, 1);
    std::optional<int> got;
    auto waiting = eddy::spawn(loop, receive_one(*c, got));
    loop.run_ready();
    c.reset();
  });
  dies_saying("a channel was awaited on another loop than its own", [] {
    eddy::event_loop other;
    channel<int> c(other, 1);
    eddy::event_loop loop;
    std::optional<int> got;
    auto waiting = eddy::spawn(loop, receive_one(c, got));
    loop.run();
  });
  dies_saying("a message was sent with a slot that holds no place", [] {
    channel_slot<int> none;
    none.send(1);
  });
  dies_saying("receive_many needs a number of messages that is not 0", [] {
    eddy::event_loop loop;
    channel<int> c(loop, 1);
    std::vector<int> to;
    static_cast<void>(c.receive_many(to, 0));
  });
}

namespace {

/// Two senders and two receivers. Each message is received once, in order, or is still there, or
/// its send was cancelled.
struct passes_messages {
  explicit passes_messages(trial& t) : of(t) {}

  task<> send(int from) {
    const trial::part held(of);
    for (int i = from; i < from + 3; ++i) {
      co_await c.send(i);
      sent.push_back(i);
    }
    if (--senders == 0) c.close();
  }
  task<> receive() {
    const trial::part held(of);
    while (auto next = co_await c.receive()) got.push_back(*next);
  }
  task<> operator()() {
    eddy::scope all;
    all.spawn(receive());
    all.spawn(send(0));
    all.spawn(send(10));
    all.spawn(receive());
    co_await all.join();
  }
  void check() {
    while (const auto next = c.try_receive()) got.push_back(*next);
    CHECK(got == sent);
  }

  trial& of;
  channel<int> c{1};
  int senders = 2;
  std::vector<int> sent;
  std::vector<int> got;
};

}  // namespace

SCENARIO_TEST("scenario: two senders and two receivers") {
  passes_messages program(t);
  co_await program();
  program.check();
}

SCENARIO_TEST("scenario: a receive in a select, and a slot") {
  const trial::part held(t);
  channel<int> c(0);
  struct closes {
    explicit closes(channel<int>& which) : of(which) {}
    closes(const closes&) = delete;
    closes& operator=(const closes&) = delete;
    ~closes() { of.close(); }
    channel<int>& of;
  };
  int sent = 0;
  const auto send = [&]() -> task<> {
    const closes at_end(c);
    const trial::part mine(t);
    auto slot = co_await c.reserve();
    co_await eddy::sleep(1s);
    slot.send(1);
    ++sent;
  };
  auto sender = eddy::spawn(send());
  int got = 0;
  for (bool open = true; open;) {
    auto either = co_await eddy::select(eddy::sleep(1s), c.receive());
    if (either.index() == 0) continue;
    open = std::get<1>(either).has_value();
    if (open) ++got;
  }
  CHECK(got == sent);
  co_await std::move(sender);
}

namespace {

/// A plain model of a channel. It changes its state in `settle`.
struct plain_channel {
  std::size_t capacity;
  std::deque<int> messages;
  std::deque<int> senders;    // the messages of waiting senders
  std::deque<int> receivers;  // the names of waiting receivers
  std::vector<std::pair<int, int>> received;

  void settle() {
    for (bool changed = true; changed;) {
      changed = false;
      if (!messages.empty() && !receivers.empty()) {
        received.emplace_back(receivers.front(), messages.front());
        messages.pop_front();
        receivers.pop_front();
        changed = true;
      } else if (!senders.empty() && messages.size() < capacity + receivers.size()) {
        messages.push_back(senders.front());
        senders.pop_front();
        changed = true;
      }
    }
  }
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "a channel does what its model does, in random operations") {
  constexpr int operations = 300'000;
  for (const std::size_t capacity : {0U, 1U, 3U, 20U}) {
    std::mt19937 random(static_cast<unsigned>(capacity));
    channel<int> real(loop, capacity);
    plain_channel model{
        .capacity = capacity, .messages = {}, .senders = {}, .receivers = {}, .received = {}};
    std::vector<std::pair<int, int>> received;
    std::deque<std::pair<int, eddy::future<>>> senders;
    std::deque<std::pair<int, eddy::future<>>> receivers;
    const auto send = [&](int message) -> task<> { co_await real.send(message); };
    const auto receive = [&](int name) -> task<> {
      const auto got = co_await real.receive();
      received.emplace_back(name, *got);
    };
    int names = 0;
    for (int i = 0; i < operations; ++i) {
      switch (random() % 6) {
        case 0:
        case 1:
          if (senders.size() > 8) break;
          senders.emplace_back(names, eddy::spawn(loop, send(names)));
          model.senders.push_back(names++);
          break;
        case 2:
        case 3:
          if (receivers.size() > 8) break;
          receivers.emplace_back(names, eddy::spawn(loop, receive(names)));
          model.receivers.push_back(names++);
          break;
        case 4: {
          if (model.senders.empty()) break;
          const std::size_t which = random() % model.senders.size();
          const int name = model.senders[which];
          std::erase_if(senders, [&](const auto& s) { return s.first == name; });
          std::erase(model.senders, name);
          break;
        }
        case 5: {
          if (model.receivers.empty()) break;
          const std::size_t which = random() % model.receivers.size();
          const int name = model.receivers[which];
          std::erase_if(receivers, [&](const auto& r) { return r.first == name; });
          std::erase(model.receivers, name);
          break;
        }
        default: break;
      }
      loop.run_ready();
      while (loop.run_ready()) {
      }
      model.settle();
      std::erase_if(senders, [](const auto& s) { return s.second.ready(); });
      std::erase_if(receivers, [](const auto& r) { return r.second.ready(); });
      REQUIRE(received == model.received);
      REQUIRE(real.size() == model.messages.size());
      received.clear();
      model.received.clear();
    }
    senders.clear();
    receivers.clear();
  }
}
