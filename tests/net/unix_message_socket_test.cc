// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_message_socket.h>.
#include <eddy/net/unix_message_socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/yield.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_seqpacket.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/tidy.h"

using eddy::received_message;
using eddy::result;
using eddy::task;
using eddy::unique_descriptor;
using eddy::unix_message_socket;

static_assert(!std::is_move_constructible_v<unix_message_socket>);
static_assert(!std::is_destructible_v<unix_message_socket>);

namespace {

using namespace std::string_view_literals;

/// Both kinds of sockets, in pairs.
struct both_kinds {
  explicit both_kinds(eddy::event_loop& loop)
      : seqpackets(eddy::seqpacket_pair(loop)), datagrams(eddy::datagram_pair(loop)) {}
  void each(auto use) {
    use(static_cast<unix_message_socket&>(seqpackets.first),
        static_cast<unix_message_socket&>(seqpackets.second));
    use(static_cast<unix_message_socket&>(datagrams.first),
        static_cast<unix_message_socket&>(datagrams.second));
  }
  std::pair<eddy::unix_seqpacket, eddy::unix_seqpacket> seqpackets;
  std::pair<eddy::unix_datagram, eddy::unix_datagram> datagrams;
};

unique_descriptor a_file() { return unique_descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

task<std::string> next(unix_message_socket& from) {
  std::array<char, 64> buffer;
  const received_message got = co_await from.receive(buffer);
  co_return std::string(buffer.data(), got.size);
}

task<> send_one(unix_message_socket& to, std::string text) { co_await to.send(text); }

}  // namespace

TEST_CASE_FIXTURE(with_loop, "each send is one message, and each receive takes one") {
  both_kinds kinds(loop);
  kinds.each([](unix_message_socket& near, unix_message_socket& far) {
    std::array<char, 64> buffer;
    CHECK(!far.try_receive(buffer));
    CHECK(near.try_send("one")->has_value());
    CHECK(near.try_send("three")->has_value());
    const received_message first = far.try_receive(buffer)->value();
    CHECK(first.size == 3);
    CHECK(first.full_size == 3);
    CHECK(!first.truncated());
    CHECK(first.from.is_unnamed());
    CHECK(far.try_receive(buffer)->value().size == 5);
    CHECK(!far.try_receive(buffer));
  });
}

TEST_CASE_FIXTURE(with_loop, "a message that is longer than the buffer is cut, and that is told") {
  both_kinds kinds(loop);
  kinds.each([](unix_message_socket& near, unix_message_socket& far) {
    const std::string much(5000, 'm');
    std::array<char, 10> buffer;
    CHECK(near.try_send(much)->has_value());
    CHECK(near.try_send("next")->has_value());
    const received_message cut = far.try_receive(buffer)->value();
    CHECK(cut.truncated());
    CHECK(cut.size == 10);
    CHECK(cut.full_size == 5000);
    CHECK(far.try_receive(buffer)->value().size == 4);
  });
}

TEST_CASE_FIXTURE(with_loop, "messages go with handlers") {
  both_kinds kinds(loop);
  kinds.each([&loop = loop](unix_message_socket& near, unix_message_socket& far) {
    std::array<char, 64> buffer;
    std::size_t size = 0;
    int sent = 0;
    bool writable = false;
    far.receive(buffer, [&](result<received_message> r) { size = r.value().size; });
    near.send("word"sv, [&](result<void> r) { sent += r ? 1 : 0; });
    CHECK(size == 0);
    loop.run();
    CHECK(size == 4);
    CHECK(sent == 1);
    near.wait_writable([&](result<void> r) { writable = r.has_value(); });
    loop.run();
    CHECK(writable);
  });
}

ASYNC_TEST("an awaited receive waits for its message, and wait_readable needs no buffer") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  auto both = eddy::join(next(far), send_one(near, "word"));
  const auto [got, nothing] = co_await std::move(both);
  CHECK(got == "word");
  co_await near.send("x"sv);
  co_await far.wait_readable();
  std::array<char, 4> buffer;
  CHECK(far.try_receive(buffer)->value().size == 1);
}

ASYNC_TEST("a send waits while the queue of the peer is full") {
  const auto fill_and_wait = [](unix_message_socket& near, unix_message_socket& far) -> task<> {
    int queued = 0;
    for (;;) {
      const auto sent = near.try_send("x");
      if (!sent) break;
      ++queued;
    }
    CHECK(queued > 0);
    const auto empty = [&]() -> task<> {
      for (int i = 0; i < queued + 1; ++i) {
        const std::string one = co_await next(far);
        CHECK(one.size() == 1);
      }
    };
    auto both = eddy::join(send_one(near, "y"), empty());
    co_await std::move(both);
  };
  both_kinds kinds(loop);
  co_await fill_and_wait(kinds.seqpackets.first, kinds.seqpackets.second);
  co_await fill_and_wait(kinds.datagrams.first, kinds.datagrams.second);
}

TEST_CASE_FIXTURE(with_loop, "a message carries descriptors, and tells those that were lost") {
  both_kinds kinds(loop);
  kinds.each([](unix_message_socket& near, unix_message_socket& far) {
    const unique_descriptor file = a_file();
    const std::vector<int> numbers(20, file.number());
    std::array<char, 64> buffer;
    std::vector<unique_descriptor> slots(20);
    CHECK(near.try_send_descriptors("word", numbers)->has_value());
    received_message got = far.try_receive_descriptors(buffer, slots)->value();
    CHECK(got.size == 4);
    CHECK(got.descriptors == 20);
    CHECK(!got.descriptors_lost);
    CHECK(::fcntl(slots[19].number(), F_GETFD) == FD_CLOEXEC);
    CHECK(near.try_send_descriptors("word", numbers)->has_value());
    got = far.try_receive_descriptors(buffer, std::span(slots).first(3))->value();
    CHECK(got.descriptors == 3);
    CHECK(got.descriptors_lost);
    CHECK(near.try_send_descriptors("word", numbers)->has_value());
    got = far.try_receive(buffer)->value();
    CHECK(got.descriptors == 0);
    CHECK(got.descriptors_lost);
  });
}

TEST_CASE_FIXTURE(with_loop, "descriptors go with handlers, too") {
  both_kinds kinds(loop);
  kinds.each([&loop = loop](unix_message_socket& near, unix_message_socket& far) {
    const unique_descriptor file = a_file();
    const std::array one{file.number()};
    std::array<char, 64> buffer;
    std::array<unique_descriptor, 1> slots;
    received_message got;
    far.receive_descriptors(buffer, slots, [&](result<received_message> r) { got = r.value(); });
    near.send_descriptors("word"sv, one, [](result<void>) {});
    loop.run();
    CHECK(got.descriptors == 1);
    CHECK(slots[0]);
  });
}

ASYNC_TEST("a receive that is dropped loses neither message nor descriptor") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  std::array<char, 64> buffer;
  std::array<unique_descriptor, 1> slots;
  bool called = false;
  far.receive_descriptors(buffer, slots, [&](auto&&) { called = true; });
  co_await eddy::yield();
  co_await near.send_descriptors("word"sv, one);
  far.stop_receiving();
  co_await eddy::yield();
  CHECK(!called);
  const received_message got = co_await far.receive_descriptors(buffer, slots);
  CHECK(got.size == 4);
  CHECK(got.descriptors == 1);
}

TEST_CASE_FIXTURE(with_loop, "closing destroys the handlers of pending operations uncalled") {
  both_kinds kinds(loop);
  kinds.each([&loop = loop](unix_message_socket& near, unix_message_socket&) {
    std::array<char, 64> buffer;
    bool called = false;
    near.receive(buffer, [&](auto&&) { called = true; });
    near.wait_writable([&](auto&&) { called = true; });
    near.close();
    loop.run();
    CHECK(!called);
    CHECK(!near.open());
  });
}

ASYNC_TEST("each call on messages may fail with each errno, and no message is lost or doubled") {
  both_kinds kinds(loop);
  const auto try_all = [](unix_message_socket& near, unix_message_socket& far) -> task<> {
    for (const int error : {EINTR, EAGAIN, ENOBUFS, ENOMEM, EMSGSIZE, ECONNREFUSED, ECONNRESET,
                            ENOTCONN, EPIPE, ETOOMANYREFS}) {
      INFO(error);
      const bool retried = error == EINTR || error == EAGAIN;
      std::array<char, 64> buffer;
      failing_system system;
      system.fail(call::send_message, error);
      const auto sent = co_await eddy::as_result(near.send("word"sv));
      CHECK(sent.has_value() == retried);
      if (!sent) CHECK(sent.error().value() == error);
      if (!retried) co_await near.send("word"sv);
      system.fail(call::receive_message, error);
      auto got = co_await eddy::as_result(far.receive(buffer));
      CHECK(got.has_value() == retried);
      if (!retried) got = co_await eddy::as_result(far.receive(buffer));
      REQUIRE(got.has_value());
      CHECK(got->size == 4);
      CHECK(!far.try_receive(buffer));
    }
  };
  co_await try_all(kinds.seqpackets.first, kinds.seqpackets.second);
  co_await try_all(kinds.datagrams.first, kinds.datagrams.second);
}

TEST_CASE_FIXTURE(with_loop, "the send buffer bounds the size of a message") {
  both_kinds kinds(loop);
  kinds.each([](unix_message_socket& near, unix_message_socket&) {
    near.set_send_buffer(10'000);
    CHECK(near.send_buffer() == 20'000);
    const std::string much(100'000, 'm');
    CHECK(near.try_send(much)->error() == std::errc::message_size);
  });
}

TEST_CASE("misuse of a message socket aborts with a message") {
  dies_saying("a Unix socket was used that is not open", [] {
    eddy::unix_seqpacket none;
    static_cast<void>(none.descriptor());
  });
  const auto with_pair = [](auto use) {
    return [use] {
      eddy::event_loop loop;
      auto [near, far] = eddy::seqpacket_pair(loop);
      std::array<char, 4> buffer{};
      use(near, buffer);
    };
  };
  dies_saying("a receive is already pending on this socket (unix peer, pid",
              with_pair([](auto& s, auto& buffer) {
                s.receive(buffer, [](auto&&) {});
                s.receive(buffer, [](auto&&) {});
              }));
  dies_saying("a send is already pending on this socket (unix peer, pid",
              with_pair([](auto& s, auto&) {
                s.send("x"sv, [](auto&&) {});
                s.send("x"sv, [](auto&&) {});
              }));
  dies_saying("unix_message_socket::receive",
              with_pair([](auto& s, auto& buffer) { s.receive(buffer, nullptr); }));
  dies_saying("unix_message_socket::send",
              with_pair([](auto& s, auto&) { s.send("x"sv, nullptr); }));
}
