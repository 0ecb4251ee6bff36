// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/socket_options.h>, and of detail/socket_setup.h under the sockets that use it.
#include <eddy/net/socket_options.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/thrown.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::result;
using eddy::socket_options;
using eddy::tcp_listener;
using eddy::tcp_stream;
namespace option = eddy::option;

// g++ 12 destroys other aggregates twice if they are written inside a co_await.
static_assert(std::is_trivially_destructible_v<socket_options>);
static_assert(std::is_same_v<tcp_listener::options, socket_options>);

namespace {

const address here = address::loopback_v4(0);

/// The words of the error of a connect.
eddy::task<std::string> refusal(const address& to, socket_options how) {
  std::string said;
  try {
    const tcp_stream stream = co_await eddy::connect(to, how);
  } catch (const std::system_error& e) {
    said = e.what();
  }
  co_return said;
}

int value_of(int descriptor, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  ::getsockopt(descriptor, level, name, &value, &size);
  return value;
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a listener has the options with which it was made") {
  tcp_listener listener(loop, here,
                        {.backlog = 8,
                         .reuse_address = false,
                         .reuse_port = true,
                         .device = "lo",
                         .freebind = true,
                         .send_buffer = 50'000,
                         .receive_buffer = 60'000,
                         .fast_open = 5,
                         .user_timeout = 7s});
  CHECK(!listener.get(option::reuse_address));
  CHECK(listener.get(option::reuse_port));
  CHECK(listener.get(option::device) == "lo");
  CHECK(listener.get(option::freebind));
  CHECK(!listener.get(option::transparent));
  CHECK(listener.get(option::send_buffer) == 100'000);
  CHECK(listener.get(option::receive_buffer) == 120'000);
  CHECK(listener.get(option::user_timeout) == 7s);
  CHECK(value_of(listener.descriptor(), IPPROTO_TCP, TCP_FASTOPEN) == 5);
  listener.set(option::user_timeout, 8s);
  CHECK(listener.get(option::user_timeout) == 8s);
  const tcp_listener usual(loop, here);
  CHECK(usual.get(option::reuse_address));
  CHECK(!usual.get(option::reuse_port));
}

TEST_CASE_FIXTURE(with_loop, "the connections of a listener inherit its user timeout") {
  tcp_listener listener(loop, here, {.user_timeout = 7s});
  const tcp_stream near(loop, plain_connection(listener.local_address()));
  const tcp_stream far = next_of(listener);
  CHECK(far.get(option::user_timeout) == 7s);
}

ASYNC_TEST("a connect has the options with which it was made") {
  const tcp_listener listener(loop, here);
  const socket_options how{.local = address(address::v4_bytes{127, 0, 0, 9}, 0),
                           .device = "lo",
                           .freebind = true,
                           .send_buffer = 50'000,
                           .receive_buffer = 60'000,
                           .user_timeout = 3s};
  tcp_stream stream = co_await eddy::connect(listener.local_address(), how);
  CHECK(stream.local_address().host() == "127.0.0.9");
  CHECK(stream.get(option::device) == "lo");
  CHECK(stream.get(option::freebind));
  CHECK(stream.get(option::send_buffer) == 100'000);
  CHECK(stream.get(option::receive_buffer) == 120'000);
  CHECK(stream.get(option::user_timeout) == 3s);
  stream.set(option::device, "");
  CHECK(stream.get(option::device).empty());
  const tcp_stream named =
      co_await eddy::connect("127.0.0.1", listener.local_address().port(), how);
  CHECK(named.local_address().host() == "127.0.0.9");
}

TEST_CASE_FIXTURE(with_loop, "a connect with a handler takes options, too") {
  const tcp_listener listener(loop, here);
  const socket_options how{.local = address(address::v4_bytes{127, 0, 0, 9}, 0)};
  std::string local;
  const auto note = [&](result<tcp_stream> s) { local += s->local_address().host() + ' '; };
  auto by_address = eddy::connect(loop, listener.local_address(), how, note);
  auto by_name = eddy::connect(loop, "127.0.0.1", listener.local_address().port(), how, note);
  loop.run();
  CHECK(local == "127.0.0.9 127.0.0.9 ");
}

ASYNC_TEST("the error of a refused option names the option") {
  CHECK(words_from([&] { const tcp_listener l(loop, here, {.device = "no-such-device"}); }) ==
        "listen at 127.0.0.1:0, option device: No such device");
  const address to = address::loopback_v4(1);
  const std::string device = co_await refusal(to, {.device = "no-such-device"});
  CHECK(device == "connect to 127.0.0.1:1, option device: No such device");
  const std::string local = co_await refusal(to, {.local = address::loopback_v6(0)});
  CHECK(local.starts_with("connect to 127.0.0.1:1, option local: "));
  failing_system system;
  system.fail(call::set_option, EPERM);
  const std::string mark = co_await refusal(to, {.mark = 7});
  CHECK(mark == "connect to 127.0.0.1:1, option mark: Operation not permitted");
  system.fail(call::set_option, EPERM);
  const std::string transparent = co_await refusal(to, {.transparent = true});
  CHECK(transparent == "connect to 127.0.0.1:1, option transparent: Operation not permitted");
}

TEST_CASE_FIXTURE(with_loop, "a device whose name only begins with that of another is refused") {
  using namespace std::string_view_literals;
  constexpr std::string_view longer = "sixteen-letters-";
  tcp_stream stream = stream_pair(loop).near;
  failing_system system;
  for (const std::string_view name : {"lo\0x"sv, "lo\0"sv, "\0"sv, longer}) {
    CHECK(words_from([&] { const tcp_listener l(loop, here, {.device = name}); }) ==
          "listen at 127.0.0.1:0, option device: No such device");
    const std::size_t before = system.count(call::set_option);
    CHECK(words_from([&] { stream.set(option::device, name); }) ==
          "setting the option device: No such device");
    CHECK(system.count(call::set_option) == before);  // the kernel would cut the name
  }
  CHECK(words_from([&] { stream.set(option::device, longer.substr(1)); }) ==
        "setting the option device: No such device");
}

ASYNC_TEST("each refused option of a connect is an error and leaves no socket") {
  const tcp_listener listener(loop, here);
  const socket_options how{.reuse_address = true,
                           .reuse_port = true,
                           .local = here,
                           .freebind = true,
                           .send_buffer = 50'000,
                           .receive_buffer = 60'000,
                           .user_timeout = 3s};
  constexpr std::size_t options = 7;  // and one for `local`
  for (std::size_t k = 1; k <= options; ++k) {
    failing_system system;
    system.fail(call::set_option, ENOBUFS, k);
    const auto r = co_await eddy::as_result(eddy::connect(listener.local_address(), how));
    CHECK(r.error() == std::errc::no_buffer_space);
    CHECK(system.count(call::set_option) == k);
  }
}

ASYNC_TEST("with fast_open the first write opens the connection") {
  tcp_listener listener(loop, here, {.fast_open = 5});
  const socket_options how{.fast_open = 1};
  for (int i = 0; i < 3; ++i) {
    tcp_stream stream = co_await eddy::connect(listener.local_address(), how);
    co_await stream.write(std::string_view("early"));
    tcp_stream served = co_await listener.accept();
    const std::string got = co_await read_some(served);
    CHECK(got == "early");
    co_await served.write(std::string_view("answer"));
    const std::string answer = co_await read_some(stream);
    CHECK(answer == "answer");
  }
}

ASYNC_TEST("with fast_open the connect or the first write reports a refused connection") {
  address nobody;
  {
    const tcp_listener gone(loop, here);
    nobody = gone.local_address();
  }
  const socket_options how{.fast_open = 1};
  auto r = co_await eddy::as_result(eddy::connect(nobody, how));
  std::error_code error;
  if (r) {
    const auto written = co_await eddy::as_result(r->write(std::string_view("early")));
    error = written.error();
  } else {
    error = r.error();
  }
  CHECK(error == std::errc::connection_refused);
}

ASYNC_TEST("a write that begins to connect waits until the connection is open") {
  stream_pair pair(loop);
  failing_system system;
  system.fail(call::send, EINPROGRESS);
  co_await pair.near.write(std::string_view("early"));
  CHECK(take(pair.far) == "early");
  CHECK(system.count(call::send) == 2);
}

TEST_CASE_FIXTURE(with_loop, "asking for an option fails with the kernel's error") {
  tcp_listener listener(loop, here);
  failing_system system;
  system.fail(call::get_option, ENOBUFS);
  CHECK(words_from([&] { static_cast<void>(listener.get(option::mark)); }) ==
        "asking for the option mark: No buffer space available");
  system.fail(call::set_option, EPERM);
  CHECK(words_from([&] { listener.set(option::mark, 7); }) ==
        "setting the option mark: Operation not permitted");
}
