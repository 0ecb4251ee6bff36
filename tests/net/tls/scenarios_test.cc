// SPDX-License-Identifier: BSD-2-Clause
// Every operation of TLS, ended in every way at every point, and with each allocation failing.
#include <array>
#include <chrono>
#include <cstddef>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/err.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/net/duplex.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/tls/tls_stream.h>
#include <eddy/testing/every_point.h>
#include <eddy/testing/failing_new.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/stream_pair.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using eddy::join;
using eddy::task;
using eddy::trial;

namespace {

// Made before any allocation fails.
const tls_contexts& contexts() {
  static const tls_contexts by;
  return by;
}

template <class Stream>
task<std::string> all_of(Stream& from) {
  std::string all;
  for (;;) {
    std::array<char, 64> buffer;
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) co_return all;
    all.append(buffer.data(), n);
  }
}

template <class Stream>
task<> write_and_end(Stream& to, std::string_view bytes) {
  co_await to.write(bytes);
  co_await to.shutdown();
}

template <class Stream>
task<> ask(eddy::tls_client_context by, Stream wire) {
  auto stream = co_await eddy::tls_connect(by, std::move(wire), "localhost");
  auto both = join(write_and_end(stream, "a question of some length"), all_of(stream));
  const auto [nothing, answer] = co_await std::move(both);
  CHECK(answer == "an answer");
}

template <class Stream>
task<> answer(eddy::tls_server_context by, Stream wire) {
  auto stream = co_await eddy::tls_accept(by, std::move(wire));
  const std::string question = co_await all_of(stream);
  CHECK(question == "a question of some length");
  co_await write_and_end(stream, "an answer");
}

struct talks {
  explicit talks(trial& t) : of(t), ends(eddy::duplex(t.loop(), 300, 300)) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(ask(contexts().client, std::move(ends.first)),
                     answer(contexts().server, std::move(ends.second)));
    co_await std::move(both);
  }
  std::string check(bool) {
    return ERR_peek_error() == 0 ? "" : "OpenSSL's queue of errors is not empty";
  }
  trial& of;
  std::pair<eddy::duplex_stream, eddy::duplex_stream> ends;
};

struct talks_over_tcp {
  explicit talks_over_tcp(trial& t) : of(t), ends(t.loop()) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(ask(contexts().client, std::move(ends.near)),
                     answer(contexts().server, std::move(ends.far)));
    co_await std::move(both);
  }
  trial& of;
  stream_pair ends;
};

struct refuses {
  explicit refuses(trial& t) : of(t), ends(eddy::duplex(t.loop(), 300, 300)) {}
  task<> work() {
    const trial::part held(of);
    auto made = words_of(
        eddy::tls_connect(contexts().client, std::move(ends.first), "other.example"), words);
    auto other = words_of(eddy::tls_accept(contexts().server, std::move(ends.second)), others);
    auto both = join(std::move(made), std::move(other));
    const auto [client, server] = co_await std::move(both);
    CHECK_FALSE(client.has_value());
    CHECK_FALSE(server.has_value());
  }
  trial& of;
  std::pair<eddy::duplex_stream, eddy::duplex_stream> ends;
  std::string words;
  std::string others;
};

struct talks_with_handlers {
  explicit talks_with_handlers(trial& t) : of(t), ends(eddy::duplex(t.loop(), 300, 300)) {}
  task<> work() {
    const trial::part held(of);
    memory_tls client;
    memory_tls server;
    eddy::promise<> ended;
    bool over = false;
    std::array<char, 64> buffer;
    std::string got;
    const auto fail = [&](std::error_code error) {
      if (!std::exchange(over, true)) ended.set_error(error);
    };
    // Starting the next operation may find no memory.
    const auto step = [&](auto r, auto next) {
      of.runs();
      if (!r) return fail(r.error());
      try {
        next(std::move(r));
      } catch (const std::bad_alloc&) {
        fail(std::make_error_code(std::errc::not_enough_memory));
      }
    };
    const auto read = [&](eddy::result<std::size_t> n) {
      step(n, [&](eddy::result<std::size_t> count) {
        got.assign(buffer.data(), *count);
        if (!std::exchange(over, true)) ended.set_value();
      });
    };
    const auto written = [&](eddy::result<void> r) {
      step(r, [&](eddy::result<void>) { client.shutdown([&](eddy::result<void>) { of.runs(); }); });
    };
    const eddy::pending_operation accepting = eddy::tls_accept(
        contexts().server, std::move(ends.second), [&](eddy::result<memory_tls> made) {
          step(std::move(made), [&](eddy::result<memory_tls> stream) {
            server = std::move(*stream);
            server.read(buffer, read);
          });
        });
    const eddy::pending_operation connecting = eddy::tls_connect(
        contexts().client, std::move(ends.first), "localhost", [&](eddy::result<memory_tls> made) {
          step(std::move(made), [&](eddy::result<memory_tls> stream) {
            client = std::move(*stream);
            client.write(std::string_view("word"), written);
          });
        });
    co_await ended.get_future();
    CHECK(got == "word");
  }
  trial& of;
  std::pair<eddy::duplex_stream, eddy::duplex_stream> ends;
};

}  // namespace

TEST_CASE("TLS: a question and its answer are ended at every point") {
  static_cast<void>(contexts());
  check_report(eddy::every_point<talks>());
  check_report(eddy::every_point<talks>(1));
}

TEST_CASE("TLS over TCP: a question and its answer are ended at every point") {
  static_cast<void>(contexts());
  check_report(eddy::every_point<talks_over_tcp>());
  check_report(eddy::every_point<talks_over_tcp>(1));
}

TEST_CASE("TLS: a refused handshake is ended at every point") {
  static_cast<void>(contexts());
  check_report(eddy::every_point<refuses>());
}

TEST_CASE("TLS: operations with handlers are ended at every point") {
  static_cast<void>(contexts());
  check_report(eddy::every_point<talks_with_handlers>());
  check_report(eddy::every_point<talks_with_handlers>(1));
}

namespace {

/// How a question and its answer over TCP end, on both ends.
task<std::pair<std::error_code, std::error_code>> talk_over_tcp(eddy::tcp_stream near,
                                                                eddy::tcp_stream far) {
  const auto error_of = [](task<> work) -> task<std::error_code> {
    const auto r = co_await eddy::as_result(std::move(work));
    co_return r ? std::error_code() : r.error();
  };
  auto both = join(error_of(ask(contexts().client, std::move(near))),
                   error_of(answer(contexts().server, std::move(far))));
  const auto [client, server] = co_await std::move(both);
  co_return std::pair(client, server);
}

}  // namespace

TEST_CASE("TLS over TCP: system calls that move few bytes lose and double nothing") {
  static_cast<void>(contexts());
  for (const std::size_t most : {1, 2, 5, 100, 1000}) {
    CAPTURE(most);
    async_fixture f;
    stream_pair pair(f.loop);
    failing_system system;
    const eddy::detail::scoped_system in_place(system);
    system.limit_bytes(most);
    const auto body = [&]() -> task<> {
      auto talk = talk_over_tcp(std::move(pair.near), std::move(pair.far));
      const auto [client, server] = co_await std::move(talk);
      CHECK_FALSE(client);
      CHECK_FALSE(server);
    };
    f.run(body());
  }
}
