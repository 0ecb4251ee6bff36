// SPDX-License-Identifier: BSD-2-Clause
// Every system call of TCP sockets, and of taking over a socket, with each of its errors.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/failing_system.h"
#include "support/fault_scenario.h"
#include "support/faults.h"
#include "support/stream_pair.h"

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

/// A server that sends back what comes, and clients that ask it.
struct echoes_by_tcp : scenario {
  explicit echoes_by_tcp(faulty_run& r)
      : scenario(r), question(r.bytes(r.any(2, 20'000))), echo(r) {
    piece = r.any(1 + question.size() / 4, question.size());
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    echo.serve = [this](tcp_stream& s) { return send_back(s, buffer); };
  }
  task<> work() {
    echo.open([this] { return tcp_listener(run.loop, unused_loopback()); });
    answer.clear();
    co_await timeout(client_patience, ask());
  }
  task<> ask() {
    tcp_stream s = co_await eddy::connect(echo.listener->local_address());
    auto both = join(say(s, question, piece), hear(s, answer, buffer));
    co_await std::move(both);
  }
  void check() { run.expect_bytes(question, answer); }
  static constexpr std::size_t shapes = 10;

  std::string question;
  std::string answer;
  std::size_t piece;
  std::size_t buffer;
  server<tcp_listener, tcp_stream> echo;
};

/// A server and a client of handlers.
template <class Listener, class Stream>
class handler_server {
public:
  explicit handler_server(faulty_run& r) : run_(r) {}

  template <class Open>
  void open(Open make) {
    if (!listener) listener.emplace(make());
    if (std::exchange(accepting_, true)) return;
    failed_ = 0;
    accept();
  }
  std::size_t buffer = 1000;
  std::optional<Listener> listener;

private:
  struct session {
    explicit session(Stream s, std::size_t size) : stream(std::move(s)), bytes(size) {}
    Stream stream;
    std::vector<char> bytes;
  };
  using place = std::list<session>::iterator;

  void accept() {
    listener->accept([this](eddy::result<Stream> s) {
      if (s) {
        read(all_.emplace(all_.end(), std::move(*s), buffer));
      } else {
        run_.tell(s.error());
        if (++failed_ == 3) {
          accepting_ = false;
          return;
        }
      }
      accept();
    });
  }
  void read(place one) {
    one->stream.read(std::span(one->bytes), [this, one](eddy::result<std::size_t> n) {
      if (n && *n != 0) return write(one, *n);
      if (!n) run_.tell(n.error());
      all_.erase(one);
    });
  }
  void write(place one, std::size_t n) {
    one->stream.write(std::span<const char>(one->bytes.data(), n),
                      [this, one](eddy::result<void> sent) {
                        if (sent) return read(one);
                        run_.tell(sent.error());
                        all_.erase(one);
                      });
  }

  faulty_run& run_;
  bool accepting_ = false;
  int failed_ = 0;
  std::list<session> all_;
};

struct echoes_by_handlers : scenario {
  explicit echoes_by_handlers(faulty_run& r)
      : scenario(r), question(r.bytes(r.any(2, 20'000))), echo(r) {
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    echo.buffer = buffer;
  }
  task<> work() {
    echo.open([this] { return tcp_listener(run.loop, unused_loopback()); });
    answer.clear();
    handler_talker<tcp_stream> client(run, question, answer, buffer);
    auto asking = client.talk([this](auto on_connected) {
      return eddy::connect(run.loop, echo.listener->local_address(), std::move(on_connected));
    });
    auto limited = timeout(client_patience, std::move(asking));
    co_await std::move(limited);
  }
  void check() { run.expect_bytes(question, answer); }
  static constexpr std::size_t shapes = 10;

  std::string question;
  std::string answer;
  std::size_t buffer;
  handler_server<tcp_listener, tcp_stream> echo;
};

/// The client of a flood, which is no part of eddy: blocking sockets that only wait for one byte.
struct plain_client {
  explicit plain_client(int d) noexcept : descriptor(d) {}
  plain_client(plain_client&& other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}
  plain_client& operator=(plain_client&&) = delete;
  ~plain_client() {
    if (descriptor >= 0) ::close(descriptor);
  }
  /// The byte that came, 0 for the end, or -1 for nothing.
  [[nodiscard]] int got() const {
    char byte = 0;
    const ssize_t n = ::recv(descriptor, &byte, 1, MSG_DONTWAIT);
    return n > 0 ? byte : n == 0 || errno == ECONNRESET ? 0 : -1;
  }
  int descriptor;
};

/// A listener at its limit of descriptors, and more clients than it has descriptors for.
struct accepts_a_flood : scenario {
  struct system : failing_system {
    std::size_t limit = SIZE_MAX;
    std::size_t descriptor_limit() override { return limit; }
  };
  accepts_a_flood(faulty_run& r, system& s)
      : scenario(r),
        kernel(s),
        sheds(r.option(2) != 0),
        listener(r.loop, unused_loopback(),
                 {.connections_at_limit = sheds ? eddy::at_limit::shed : eddy::at_limit::hold}),
        all(r.loop) {
    knock(6);
    const int next = ::dup(0);
    ::close(next);
    kernel.limit = static_cast<std::size_t>(next) + 4 + 3;  // a listener keeps 4 free
  }
  void knock(int count) {
    for (int i = 0; i < count; ++i)
      clients.emplace_back(plain_connection(listener.local_address()));
  }
  task<> work() {
    auto limited = timeout(client_patience, accept_all());
    co_await std::move(limited);
  }
  task<> accept_all() {
    while (served + listener.shed_count() < clients.size()) {
      auto accepting = listener.accept();
      auto limited = timeout(1s, std::move(accepting));
      auto r = co_await as_result(std::move(limited));
      if (!r) {
        if (served + listener.shed_count() >= clients.size()) break;
        run.tell(r.error());
        if (r.error() == std::errc::timed_out || ++failed > 8) break;
        continue;
      }
      ++served;
      all.spawn(serve(std::move(*r)));
    }
    co_await all.join();
  }
  task<> serve(tcp_stream s) {
    co_await eddy::sleep(1ms);  // so that several are open
    auto r = co_await as_result(s.write("x"sv));
    if (!r) run.tell(r.error());
  }
  void check() {
    std::size_t told_clients = 0;
    for (const plain_client& c : clients) {
      const int first = c.got();
      run.expect(first == 'x' || first == 0 || first == -1, "a client got a wrong byte");
      told_clients += first >= 0 ? 1 : 0;
      if (first == 'x') run.expect(c.got() <= 0, "a client got two bytes");
    }
    if (!run.told) run.expect(told_clients == clients.size(), "a client was never served");
  }
  task<> again() {
    kernel.limit = SIZE_MAX;
    // The listener may still have connections of the client before.
    for (auto old = listener.try_accept(); old; old = listener.try_accept()) {
    }
    clients.clear();
    failed = 0;
    served = 0;
    const auto shed = listener.shed_count();
    knock(1);
    tcp_stream s = co_await listener.accept();
    co_await s.write("x"sv);
    run.expect(clients[0].got() == 'x', "the fresh client is not served");
    run.expect(listener.shed_count() == shed, "the fresh client was shed");
  }
  static constexpr std::size_t shapes = 8;
  static std::optional<bool> harmless(const fault& f) {
    // A listener without a spare descriptor pauses.
    if (f.of->kind == call::duplicate || f.of->kind == call::socket) return true;
    return {};
  }

  system& kernel;
  bool sheds;
  tcp_listener listener;
  std::vector<plain_client> clients;
  std::size_t served = 0;
  int failed = 0;
  eddy::scope all;
};

/// Connects with options, and to an address that refuses.
struct connects_with_options : scenario {
  explicit connects_with_options(faulty_run& r)
      : scenario(r),
        binds(r.option(2) != 0),
        sets(r.option(2) != 0),
        listener(r.loop, unused_loopback()) {
    const tcp_listener gone(r.loop, unused_loopback());
    nobody = gone.local_address();
  }
  task<> work() {
    eddy::socket_options how{.address_limit = 1s};
    if (binds) how.local = address::loopback_v4(0);
    if (sets) {
      how.reuse_address = true;
      how.send_buffer = 65536;
      how.receive_buffer = 65536;
      how.user_timeout = 10s;
    }
    auto refused = eddy::connect(nobody, how);
    const auto none = co_await as_result(std::move(refused));
    run.expect(!none, "a connect to nobody succeeded");
    if (none.error() != std::errc::connection_refused) run.tell(none.error());
    tcp_stream s = co_await eddy::connect(listener.local_address(), how);
    s.set_no_delay(true);
    s.set_keep_alive(tcp_stream::keep_alive_times());
    s.set_linger(std::nullopt);
    run.expect(s.no_delay() && s.keep_alive(), "an option has another value, and nobody was told");
    run.expect(s.send_buffer() >= 65536 || !sets, "a buffer is too small, and nobody was told");
    run.expect(s.local_address().port() != 0, "a stream has no address, and nobody was told");
    auto accepting = listener.accept();
    auto limited = timeout(client_patience, std::move(accepting));
    const tcp_stream accepted = co_await std::move(limited);
    run.expect(accepted.peer_address() == s.local_address(), "another client was accepted");
  }
  task<> again() {
    while (listener.try_accept()) {
    }
    auto whole = work();
    co_await std::move(whole);
  }
  static constexpr std::size_t shapes = 4;
  bool binds;
  bool sets;
  tcp_listener listener;
  address nobody;
};

/// Serves IPv6 clients at `[::]`, and IPv4 clients, too, unless the listener is for IPv6 only.
struct serves_both_families : scenario {
  explicit serves_both_families(faulty_run& r)
      : scenario(r),
        only_v6(r.option(2) != 0),
        binds(r.option(2) != 0),
        question(r.bytes(r.any(2, 2'000))),
        echo(r) {
    echo.serve = [this](tcp_stream& s) { return serve(s); };
  }
  task<> serve(tcp_stream& s) {
    peers.push_back(s.peer_address());
    auto echoing = send_back(s, 1'000);
    co_await std::move(echoing);
  }
  task<> work() {
    echo.open(
        [this] { return tcp_listener(run.loop, address::any_v6(0), {.ipv6_only = only_v6}); });
    run.expect(echo.listener->get(eddy::option::ipv6_only) == only_v6,
               "a listener has another option, and nobody was told");
    answers.clear();
    peers.clear();
    const auto port = echo.listener->local_address().port();
    auto by_v6 = ask(address::loopback_v6(port), address::loopback_v6(0));
    co_await std::move(by_v6);
    if (only_v6) co_return;
    auto by_v4 = ask(address::loopback_v4(port), address::loopback_v4(0));
    co_await std::move(by_v4);
  }
  task<> ask(address to, address from) {
    eddy::socket_options how;
    if (binds) how.local = from;
    auto connecting = eddy::connect(to, how);
    auto connected = timeout(client_patience, std::move(connecting));
    tcp_stream s = co_await std::move(connected);
    address here = s.local_address();
    run.expect(here.is_v6() == to.is_v6(), "a client has an address of the other family");
    if (here.is_v4()) here = *address::parse("::ffff:" + here.host(), here.port());
    answers.emplace_back();
    auto both = join(say(s, question, question.size()), hear(s, answers.back(), 1'000));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
    run.expect(std::ranges::find(peers, here) != peers.end(),
               "a listener has seen another client address");
  }
  void check() {
    for (const std::string& answer : answers) run.expect_bytes(question, answer);
    run.expect(run.told || answers.size() == (only_v6 ? 1U : 2U),
               "a client has no answer, and nobody was told");
  }
  static constexpr std::size_t shapes = 4;
  bool only_v6;
  bool binds;
  std::string question;
  std::list<std::string> answers;
  std::vector<address> peers;
  server<tcp_listener, tcp_stream> echo;
};

/// Takes over plain sockets of every kind.
struct takes_over_sockets : scenario {
  explicit takes_over_sockets(faulty_run& r) : scenario(r) {}
  static int plain(int family, int type) { return ::socket(family, type | SOCK_CLOEXEC, 0); }
  static int listening(int family, int type) {
    const int made = plain(family, type);
    if (family == AF_UNIX) {
      const sa_family_t name = AF_UNIX;
      ::bind(made, reinterpret_cast<const sockaddr*>(&name), sizeof name);
    }
    ::listen(made, 8);
    return made;
  }
  template <class Owner>
  std::optional<Owner> take(int descriptor) {
    try {
      return std::optional<Owner>(std::in_place, run.loop, descriptor);
    } catch (const std::system_error& e) {
      run.tell(e.code());
      return {};
    }
  }
  task<> work() {
    using both = std::array<int, 2>;
    auto tcp = take<tcp_listener>(listening(AF_INET, SOCK_STREAM));
    auto local = take<eddy::unix_listener>(listening(AF_UNIX, SOCK_STREAM));
    auto packets = take<eddy::unix_seqpacket_listener>(listening(AF_UNIX, SOCK_SEQPACKET));
    auto udp = take<eddy::udp_socket>(plain(AF_INET, SOCK_DGRAM));
    both ends{};
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
    auto near = take<eddy::unix_stream>(ends[0]);
    auto far = take<eddy::unix_stream>(ends[1]);
    ::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends.data());
    auto one = take<eddy::unix_datagram>(ends[0]);
    auto other = take<eddy::unix_datagram>(ends[1]);
    run.expect(run.told || (tcp && local && packets && udp && near && far && one && other),
               "a socket was not taken over, and nobody was told");
    if (near && far) {
      co_await near->write("early"sv);
      far->shutdown_read();
      auto limited = timeout(client_patience, hear(*far, heard, 10));
      co_await std::move(limited);
      run.expect_bytes("early", heard);
      heard.clear();
    }
    if (tcp) {
      auto limited = timeout(client_patience, meet(*tcp));
      co_await std::move(limited);
    }
  }
  task<> meet(tcp_listener& at) {
    tcp_stream client(run.loop, plain_connection(at.local_address()));
    tcp_stream accepted = co_await at.accept();
    auto both = join(say(client, "word", 2), hear(accepted, heard, 10));
    co_await std::move(both);
    run.expect_bytes("word", heard);
    heard.clear();
  }
  task<> again() {
    heard.clear();
    auto whole = work();
    co_await std::move(whole);
  }
  static bool possible(call kind, int error) {
    // After shutdown_read, a read that finds nothing is the end: another process may have taken the
    // bytes that were counted.
    return kind != call::read || error != EAGAIN;
  }
  std::string heard;
  static constexpr std::size_t shapes = 2;
};

}  // namespace

FAULTS_TEST(echoes_by_tcp, "an echo by TCP survives every fault")
FAULTS_TEST(echoes_by_handlers, "an echo by handlers survives every fault")
FAULTS_TEST(accepts_a_flood, "a listener at its limit survives every fault")
FAULTS_TEST(connects_with_options, "a connect with options survives every fault")
FAULTS_TEST(serves_both_families, "a listener for IPv6 and IPv4 survives every fault")
FAULTS_TEST(takes_over_sockets, "taking over sockets survives every fault")

FAULTS_TOTAL(6, 26'500, "the scenarios of TCP survive 26,500 faults")
