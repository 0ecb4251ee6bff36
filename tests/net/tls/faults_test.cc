// SPDX-License-Identifier: BSD-2-Clause
// Every system call of TLS over TCP, with each of its errors.
#include "support/faults.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/err.h>

#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_stream.h>

#include "support/fault_scenario.h"
#include "support/stream_pair.h"
#include "support/tls_pair.h"

using eddy::join;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::timeout;
using eddy::tls_version;
using tcp_tls = eddy::tls_stream<tcp_stream>;

namespace {

/// Contexts of one version. They live as long as the program, so that later runs resume sessions
/// of earlier ones, whatever fault these had.
template <tls_version Version>
const tls_contexts& contexts(bool resumption) {
  static const tls_authority authority;
  const auto make = [](bool resumes) {
    eddy::tls_client_options client = client_options(authority);
    eddy::tls_server_options server = server_options(authority);
    client.max_version = server.max_version = Version;
    client.resumption = server.resumption = resumes;
    return tls_contexts(client, server);
  };
  static const tls_contexts fresh = make(false);
  static const tls_contexts resuming = make(true);
  return resumption ? resuming : fresh;
}

/// A scenario with contexts of one of both versions. Its sockets send the rest of a short write at
/// once: the kernel would delay it for real time (Nagle's algorithm), of which the clock knows
/// nothing.
struct with_tls : scenario {
  explicit with_tls(faulty_run& r) : scenario(r), by(choose(r)) {}
  static const tls_contexts& choose(faulty_run& r) {
    const bool resumption = r.option(2) != 0;
    return r.option(2) != 0 ? contexts<tls_version::tls1_2>(resumption)
                            : contexts<tls_version::tls1_3>(resumption);
  }
  static std::string left() {
    return ERR_peek_error() == 0 ? "" : "OpenSSL's queue of errors is not empty";
  }
  /// A handshake takes most of the time of a run, so errors are left out that TLS cannot tell from
  /// others, and calls that are made before TLS begins. net/tcp_faults_test.cc has them.
  static bool possible(call kind, int error) {
    const std::array calls{call::read, call::send, call::send_message, call::shutdown, call::close};
    const std::array errors{0,          EINTR, EAGAIN,   EIO,    EBADF,
                            ECONNRESET, EPIPE, ENOTCONN, ENOMEM, ETIMEDOUT};
    return std::ranges::find(calls, kind) != calls.end() &&
           std::ranges::find(errors, error) != errors.end();
  }
  const tls_contexts& by;
};

/// A server that sends back what comes, and clients that ask it.
struct echoes_by_tls : with_tls {
  explicit echoes_by_tls(faulty_run& r)
      : with_tls(r), question(r.bytes(r.any(2, 20'000))), echo(r) {
    piece = r.any(1 + question.size() / 2, question.size());
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    echo.serve = [this](tcp_stream& s) { return serve(std::move(s)); };
  }
  task<> serve(tcp_stream s) {
    s.set_no_delay(true);
    auto accepting = eddy::tls_accept(by.server, std::move(s));
    tcp_tls stream = co_await std::move(accepting);
    auto echoing = send_back(stream, buffer);
    co_await std::move(echoing);
  }
  task<> work() {
    echo.open([this] { return tcp_listener(run.loop, unused_loopback()); });
    answer.clear();
    auto limited = timeout(client_patience, ask());
    co_await std::move(limited);
  }
  task<> ask() {
    tcp_stream s = co_await eddy::connect(echo.listener->local_address());
    s.set_no_delay(true);
    auto connecting = eddy::tls_connect(by.client, std::move(s), "localhost");
    tcp_tls stream = co_await std::move(connecting);
    auto both = join(say(stream, question, piece), hear(stream, answer, buffer));
    co_await std::move(both);
  }
  void check() { run.expect_bytes(question, answer); }
  static constexpr std::size_t shapes = 4;

  std::string question;
  std::string answer;
  std::size_t piece;
  std::size_t buffer;
  server<tcp_listener, tcp_stream> echo;
};

struct talks_by_tls_handlers : with_tls {
  explicit talks_by_tls_handlers(faulty_run& r)
      : with_tls(r), question(r.bytes(r.any(2, 10'000))), answer(r.bytes(r.any(2, 10'000))) {}
  task<> work() {
    heard_question.clear();
    heard_answer.clear();
    stream_pair ends(run.loop, unused_loopback());
    ends.near.set_no_delay(true);
    ends.far.set_no_delay(true);
    handler_talker<tcp_tls> client(run, question, heard_answer, answer.size());
    handler_talker<tcp_tls> server(run, answer, heard_question, question.size());
    auto asking = client.talk([&](auto on_made) {
      return eddy::tls_connect(by.client, std::move(ends.near), "localhost", std::move(on_made));
    });
    auto answering = server.talk([&](auto on_made) {
      return eddy::tls_accept(by.server, std::move(ends.far), std::move(on_made));
    });
    auto both = join(std::move(asking), std::move(answering));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  void check() {
    run.expect_bytes(question, heard_question);
    run.expect_bytes(answer, heard_answer);
  }
  static constexpr std::size_t shapes = 2;

  std::string question;
  std::string answer;
  std::string heard_question;
  std::string heard_answer;
};

}  // namespace

FAULTS_TEST(echoes_by_tls, "an echo by TLS over TCP survives every fault")
FAULTS_TEST(talks_by_tls_handlers, "two ends of TLS with handlers survive every fault")

FAULTS_TOTAL(2, 3'000, "the scenarios of TLS survive 3,000 faults")
