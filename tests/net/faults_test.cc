// SPDX-License-Identifier: BSD-2-Clause
// Every system call of net/, with each of its errors: once, and from then on.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "support/faults.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::as_result;
using eddy::join;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::timeout;

namespace {

struct scenario {
  explicit scenario(faulty_run& r) : run(r) {}
  scenario(const scenario&) = delete;
  scenario& operator=(const scenario&) = delete;
  void check() {}

  using system = failing_system;
  static constexpr std::size_t shapes = 2;
  static constexpr std::size_t patience = 100;
  faulty_run& run;
};

// Parts of servers and clients, for all kinds of streams.

/// Sends the bytes in pieces, some of them gathered, and then the end.
template <class Stream>
task<> say(Stream& to, std::string_view all, std::size_t piece) {
  for (std::size_t i = 0; i < all.size();) {
    const std::string_view first = all.substr(i, piece);
    const std::string_view second = all.substr(i + first.size(), piece / 2);
    const std::array<eddy::const_buffer, 2> both{eddy::const_buffer(first),
                                                 eddy::const_buffer(second)};
    if (i % 2 == 0) {
      co_await to.write(std::span<const eddy::const_buffer>(both));
      i += first.size() + second.size();
    } else {
      co_await to.write(first);
      i += first.size();
    }
  }
  to.shutdown();
}

/// Adds what comes to `all`, until the end.
template <class Stream>
task<> hear(Stream& from, std::string& all, std::size_t size) {
  std::vector<char> buffer(size);
  for (;;) {
    const std::size_t n = co_await from.read(std::span(buffer));
    if (n == 0) break;
    all.append(buffer.data(), n);
  }
}

/// Sends back what comes, until the end.
template <class Stream>
task<> send_back(Stream& stream, std::size_t size) {
  std::vector<char> buffer(size);
  for (;;) {
    const std::size_t n = co_await stream.read(std::span(buffer));
    if (n == 0) break;
    co_await stream.write(std::span<const char>(buffer.data(), n));
  }
  stream.shutdown();
}

/// A server that notes errors and goes on, as a daemon does.
template <class Listener, class Stream>
class server {
public:
  explicit server(faulty_run& r) : run_(r), all_(r.loop) {}

  template <class Open>
  void open(Open make) {
    if (!listener) listener.emplace(make());
    if (accepting_) return;
    accepting_ = true;
    all_.spawn(accept());
  }
  std::function<task<>(Stream&)> serve;
  std::optional<Listener> listener;

private:
  task<> accept() {
    for (int failed = 0; failed < 3;) {
      auto accepting = listener->accept();
      auto r = co_await as_result(std::move(accepting));
      if (r) {
        all_.spawn(talk(std::move(*r)));
      } else {
        run_.tell(r.error());
        ++failed;
      }
    }
    accepting_ = false;
  }
  task<> talk(Stream stream) {
    try {
      co_await serve(stream);
    } catch (const std::system_error& e) {
      run_.tell(e.code());
    }
  }

  faulty_run& run_;
  bool accepting_ = false;
  eddy::scope all_;
};

constexpr auto client_patience = 2s;

/// A server that sends back what comes, and clients that ask it.
struct echoes_by_tcp : scenario {
  explicit echoes_by_tcp(faulty_run& r)
      : scenario(r), question(r.bytes(r.any(2, 20'000))), echo(r) {
    piece = r.any(1 + question.size() / 4, question.size());
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    echo.serve = [this](tcp_stream& s) { return send_back(s, buffer); };
  }
  task<> work() {
    echo.open([this] { return tcp_listener(run.loop, address::loopback_v4(0)); });
    answer.clear();
    co_await timeout(client_patience, ask());
  }
  task<> ask() {
    tcp_stream s = co_await eddy::connect(echo.listener->local_address());
    auto both = join(say(s, question, piece), hear(s, answer, buffer));
    co_await std::move(both);
  }
  void check() { run.expect_bytes(question, answer); }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
    check();
  }
  static constexpr std::size_t shapes = 3;

  std::string question;
  std::string answer;
  std::size_t piece;
  std::size_t buffer;
  server<tcp_listener, tcp_stream> echo;
};

}  // namespace

FAULTS_TEST(echoes_by_tcp, "an echo by TCP survives every fault")

TEST_CASE("the number of faults") {
  MESSAGE("faults: ", all_faults.injected, " injected, ", all_faults.survived, " survived, in ",
          all_faults.scenarios, " scenarios; ", all_faults.failed_calls, " calls failed");
}
