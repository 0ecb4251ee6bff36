// SPDX-License-Identifier: BSD-2-Clause
// Every system call of net/, with each of its errors: once, and from then on.
#include "support/faults.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
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
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/limited.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/pipe.h>
#include <eddy/net/process.h>
#include <eddy/net/pseudo_terminal.h>
#include <eddy/net/resolver.h>
#include <eddy/net/run.h>
#include <eddy/net/send_file.h>
#include <eddy/net/shared_bytes.h>
#include <eddy/net/signal_queue.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>
#include <eddy/net/write_queue.h>

#include "support/name_responder.h"
#include "support/planned_hosts.h"
#include "support/stream_pair.h"
#include "support/temporary_directory.h"

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
/// The size of a socket's buffer that few bytes fill.
constexpr std::size_t small_buffer = 4096;

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

/// Asks by handlers, and ends the promise.
template <class Stream>
class handler_client {
public:
  handler_client(faulty_run& r, std::string& answer, std::size_t size)
      : run_(r), answer_(answer), bytes_(size) {}

  /// `begin` starts the connect, and is given its handler.
  template <class Begin>
  eddy::future<> ask(std::string_view question, Begin begin) {
    connecting_ = begin([this, question](eddy::result<Stream> s) {
      if (!s) return end(s.error());
      stream_ = std::move(*s);
      stream_.write(question, [this](eddy::result<void> sent) {
        if (!sent) return end(sent.error());
        stream_.shutdown();
      });
      read();
    });
    return ended_.get_future();
  }

private:
  void read() {
    stream_.read(std::span(bytes_), [this](eddy::result<std::size_t> n) {
      if (!n) return end(n.error());
      if (*n == 0) return end({});
      answer_.append(bytes_.data(), *n);
      read();
    });
  }
  void end(std::error_code error) {
    if (error) run_.tell(error);
    if (std::exchange(over_, true)) return;
    ended_.set_value();
  }

  faulty_run& run_;
  std::string& answer_;
  std::vector<char> bytes_;
  bool over_ = false;
  eddy::promise<> ended_;
  Stream stream_;
  eddy::pending_operation connecting_;
};

struct echoes_by_handlers : scenario {
  explicit echoes_by_handlers(faulty_run& r)
      : scenario(r), question(r.bytes(r.any(2, 20'000))), echo(r) {
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    echo.buffer = buffer;
  }
  task<> work() {
    echo.open([this] { return tcp_listener(run.loop, address::loopback_v4(0)); });
    answer.clear();
    handler_client<tcp_stream> client(run, answer, buffer);
    auto asking = client.ask(question, [this](auto on_connected) {
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
        sheds(r.any(0, 1) != 0),
        listener(r.loop, address::loopback_v4(0),
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
        binds(r.any(0, 1) != 0),
        sets(r.any(0, 1) != 0),
        listener(r.loop, address::loopback_v4(0)) {
    const tcp_listener gone(r.loop, address::loopback_v4(0));
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

// Happy Eyeballs.

/// Connects to a name whose addresses are silent, refusing and good.
struct races_addresses : scenario {
  using system = planned_hosts;
  races_addresses(faulty_run& r, system& s) : scenario(r), hosts(s) {
    hosts.add("2001:db8::1");
    hosts.add("192.0.2.1", ECONNREFUSED);
    hosts.add("2001:db8::2");
    hosts.add("192.0.2.2");
    hosts.accepts("2001:db8::2");
    hosts.accepts("192.0.2.2");
  }
  task<> work() {
    auto connecting = eddy::connect("host.example", 80, {.address_limit = 5s});
    const tcp_stream s = co_await std::move(connecting);
    run.expect(s.open(), "a connect gave a stream that is not open");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static std::optional<bool> harmless(const fault& f) {
    // The next address is tried.
    if (f.of->kind == call::connect || f.of->kind == call::socket) return !f.for_good;
    return {};
  }
  static constexpr std::size_t shapes = 4;
  planned_hosts& hosts;
};

// Unix sockets.

/// Echoes bytes and descriptors at a path at which a stale file may lie.
struct echoes_descriptors : scenario {
  explicit echoes_descriptors(faulty_run& r)
      : scenario(r),
        path(folder / "socket"),
        stale(r.any(0, 1) != 0),
        mode(r.any(0, 1) != 0 ? std::optional<unsigned>(0600) : std::nullopt),
        question(r.bytes(r.any(2, 3'000))),
        file(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
        echo(r) {
    buffer = r.any(1 + question.size() / 4, question.size() + 1);
    if (stale) leave_file();
    echo.serve = [this](eddy::unix_stream& s) { return answer_with_descriptors(s); };
  }
  void leave_file() const {
    const eddy::unix_datagram left(run.loop, eddy::unix_address(path), {.remove_file = false});
  }
  void open() {
    echo.open([this] {
      return eddy::unix_listener(run.loop, eddy::unix_address(path),
                                 {.replace_stale = true, .permissions = mode});
    });
  }
  task<> work() {
    open();
    auto limited = timeout(client_patience, ask());
    co_await std::move(limited);
  }
  task<> ask() {
    heard.clear();
    came = 0;
    const eddy::unix_address at(path);
    eddy::unix_stream s = co_await eddy::connect(at);
    auto both = join(say_with_descriptors(s, question), hear_descriptors(s, heard, came));
    co_await std::move(both);
  }
  task<> say_with_descriptors(eddy::unix_stream& s, std::string_view all) {
    const std::array two{file.number(), file.number()};
    co_await s.send_descriptors(all, two);
    s.shutdown();
  }
  task<> hear_descriptors(eddy::unix_stream& s, std::string& all, std::size_t& count) {
    std::vector<char> bytes(buffer);
    std::array<eddy::unique_descriptor, 4> slots;
    for (;;) {
      const eddy::received_bytes got = co_await s.receive_descriptors(std::span(bytes), slots);
      if (got.size == 0) break;
      run.expect(!got.descriptors_lost, "a descriptor was lost");
      all.append(bytes.data(), got.size);
      count += got.descriptors;
    }
  }
  task<> answer_with_descriptors(eddy::unix_stream& s) {
    std::string all;
    std::size_t count = 0;
    auto hearing = hear_descriptors(s, all, count);
    co_await std::move(hearing);
    if (all.empty()) co_return;
    auto saying = say_with_descriptors(s, all);
    co_await std::move(saying);
  }
  [[nodiscard]] std::size_t files() const {
    const std::filesystem::directory_iterator all(folder.path());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
  void check() {
    run.expect_bytes(question, heard);
    run.expect(came == 2 || came == 0, "descriptors came twice, or one of two");
    run.expect(run.told || came == 2, "descriptors are missing, and nobody was told");
    if (echo.listener) {
      struct ::stat status{};
      run.expect(::stat(path.c_str(), &status) == 0, "the listener has no file");
      run.expect(!mode || (status.st_mode & 0777U) == *mode, "the file has other permissions");
    }
    run.expect(files() <= 1, "files are left in the directory");
  }
  task<> again() {
    open();
    auto asking = ask();
    co_await std::move(asking);
    check();
    echo.listener->close();
    run.expect(files() == 0, "a file is left in the directory");
  }
  static constexpr std::size_t shapes = 10;

  temporary_directory folder;
  std::string path;
  bool stale;
  std::optional<unsigned> mode;
  std::string question;
  eddy::unique_descriptor file;
  std::size_t buffer;
  std::string heard;
  std::size_t came = 0;
  server<eddy::unix_listener, eddy::unix_stream> echo;
};

/// Sends numbered messages, and receives them.
struct numbered : scenario {
  explicit numbered(faulty_run& r)
      : scenario(r), count(r.any(3, 8)), longest(r.any(1, most_of_message)) {}

  [[nodiscard]] std::string word(std::size_t i) const {
    std::string all = "message " + std::to_string(i) + ' ';
    all.append((i + 1) * 97 % longest, 'm');
    return all;
  }
  void came(std::string_view message) {
    run.expect(message == word(received), "a message came twice, or out of order");
    ++received;
  }
  void check() {
    run.expect(received <= count, "too many messages came");
    run.expect(run.told || received == count, "a message is lost, and nobody was told");
  }

  static constexpr std::size_t most_of_message = 600;
  using message_buffer = std::array<char, most_of_message + 100>;
  std::size_t count;
  std::size_t longest;
  std::size_t received = 0;
};

struct sends_packets : numbered {
  explicit sends_packets(faulty_run& r)
      : numbered(r), file(::open("/dev/null", O_RDONLY | O_CLOEXEC)), packets(r) {
    packets.serve = [this](eddy::unix_seqpacket& s) { return send_all(s); };
  }
  task<> send_all(eddy::unix_seqpacket& s) {
    const std::array one{file.number()};
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      if (i % 2 == 0) {
        co_await s.send(message);
      } else {
        co_await s.send_descriptors(message, one);
      }
    }
  }
  task<> work() {
    packets.open([this] { return eddy::unix_seqpacket_listener(run.loop, eddy::unix_address()); });
    auto limited = timeout(client_patience, receive());
    co_await std::move(limited);
  }
  task<> receive() {
    received = 0;
    const eddy::unix_address at = packets.listener->local_address();
    eddy::unix_seqpacket s = co_await eddy::connect_seqpacket(at);
    message_buffer buffer;
    std::array<eddy::unique_descriptor, 2> slots;
    for (;;) {
      const eddy::received_message got = co_await s.receive_descriptors(buffer, slots);
      if (got.size == 0) break;
      run.expect(got.descriptors == received % 2 && !got.descriptors_lost,
                 "a message has other descriptors");
      came(std::string_view(buffer.data(), got.size));
    }
  }
  static std::optional<bool> harmless(const fault& f) {
    if (f.of->kind == call::connect && f.error == EAGAIN)
      return true;  // the listener's queue is full
    return {};
  }
  eddy::unique_descriptor file;
  server<eddy::unix_seqpacket_listener, eddy::unix_seqpacket> packets;
  static constexpr std::size_t shapes = 10;
};

/// Sends Unix datagrams to a path at which a stale file lies, and to a connected peer.
struct sends_unix_datagrams : numbered {
  explicit sends_unix_datagrams(faulty_run& r)
      : numbered(r), connects(r.any(0, 1) != 0), at(folder / "socket") {
    const eddy::unix_datagram left(r.loop, at, {.remove_file = false});
  }
  task<> work() {
    received = 0;
    if (!server) {
      server.emplace(run.loop, at,
                     eddy::unix_datagram::options{.replace_stale = true, .permissions = 0600});
    }
    eddy::unix_datagram client(run.loop);
    if (connects) client.connect(at);
    auto both = join(send_all(client), receive());
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::unix_datagram& client) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      if (connects) {
        co_await client.send(message);
      } else {
        co_await client.send_to(message, at);
      }
    }
  }
  task<> receive() {
    message_buffer buffer;
    while (received < count) {
      const eddy::received_message got = co_await server->receive(buffer);
      came(std::string_view(buffer.data(), got.size));
    }
  }
  task<> again() {
    message_buffer old;
    while (server && server->try_receive(old)) {
    }
    auto whole = work();
    co_await std::move(whole);
    check();
    server.reset();
    const std::filesystem::directory_iterator left(folder.path());
    run.expect(begin(left) == end(left), "a file is left in the directory");
  }
  static constexpr std::size_t shapes = 12;

  temporary_directory folder;
  bool connects;
  eddy::unix_address at;
  std::optional<eddy::unix_datagram> server;
};

// UDP.

struct sends_datagrams : numbered {
  explicit sends_datagrams(faulty_run& r)
      : numbered(r), connected(r.any(0, 1) != 0), icmp(r.any(0, 1) != 0) {}
  task<> work() {
    received = 0;
    const eddy::socket_options how{.destination = true, .icmp_errors = icmp};
    eddy::udp_socket near(run.loop, address::loopback_v4(0), how);
    const address to = near.local_address();
    eddy::udp_socket far = connected ? eddy::udp_socket::connected(run.loop, to, how)
                                     : eddy::udp_socket(run.loop, address::loopback_v4(0), how);
    auto both = join(send_all(far, connected ? address() : to), receive(near));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::udp_socket& from, address to) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      co_await from.send(message, to);
    }
  }
  task<> receive(eddy::udp_socket& at) {
    message_buffer buffer;
    while (received < count) {
      const eddy::datagram got = co_await at.receive(buffer);
      came(std::string_view(buffer.data(), got.size));
      run.expect(got.to.is_loopback(), "a datagram has no destination");
    }
  }
  static constexpr std::size_t shapes = 16;
  bool connected;
  bool icmp;
};

struct sends_batches : numbered {
  using numbered::numbered;
  task<> work() {
    received = 0;
    eddy::udp_socket near(run.loop, address::loopback_v4(0));
    eddy::udp_socket far(run.loop, address::loopback_v4(0));
    auto both = join(send_all(far, near.local_address()), receive(near));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::udp_socket& from, address to) {
    std::vector<std::string> words(count);
    std::vector<eddy::outgoing_datagram> all;
    for (std::size_t i = 0; i < count; ++i) {
      words[i] = word(i);
      all.emplace_back(eddy::const_buffer(words[i]), to);
    }
    std::span<const eddy::outgoing_datagram> left(all);
    while (!left.empty()) {
      const std::size_t sent = co_await from.send_many(left);
      run.expect(sent > 0 && sent <= left.size(), "a send_many sent a wrong number");
      left = left.subspan(sent);
    }
  }
  task<> receive(eddy::udp_socket& at) {
    std::array<message_buffer, 3> bytes;
    std::array<eddy::incoming_datagram, 3> into{eddy::incoming_datagram(bytes[0]),
                                                eddy::incoming_datagram(bytes[1]),
                                                eddy::incoming_datagram(bytes[2])};
    while (received < count) {
      const std::size_t n = co_await at.receive_many(into);
      for (std::size_t i = 0; i < n; ++i) {
        came(std::string_view(bytes[i].data(), into[i].received.size));
      }
    }
  }
  static constexpr std::size_t shapes = 16;
};

// Pipes, files and processes.

struct writes_to_a_pipe : scenario {
  explicit writes_to_a_pipe(faulty_run& r) : scenario(r), all(r.bytes(r.any(2, 30'000))) {
    piece = r.any(1 + all.size() / 4, all.size());
    size = r.any(1 + all.size() / 4, all.size() + 1);
  }
  task<> work() {
    heard.clear();
    eddy::pipe_ends ends = eddy::make_pipe(run.loop);
    ::fcntl(ends.writer.descriptor(), F_SETPIPE_SZ, 4096);
    auto both = join(say_and_close(std::move(ends.writer)), hear(ends.reader, heard, size));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> say_and_close(eddy::pipe_writer to) {
    struct shuts_down {
      explicit shuts_down(eddy::pipe_writer& w) noexcept : writer(w) {}
      auto write(eddy::const_buffer b) { return writer.write(b); }
      auto write(std::span<const eddy::const_buffer> b) { return writer.write(b); }
      void shutdown() { writer.close(); }
      eddy::pipe_writer& writer;
    };
    shuts_down stream(to);
    auto saying = say(stream, all, piece);
    co_await std::move(saying);
  }
  void check() { run.expect_bytes(all, heard); }
  static constexpr std::size_t shapes = 14;

  std::string all;
  std::string heard;
  std::size_t piece;
  std::size_t size;
};

/// Descriptors 0 and 1 are other files while it exists.
class standard_files {
public:
  standard_files(int input, int output) : input_(::dup(0)), output_(::dup(1)) {
    ::dup2(input, 0);
    ::dup2(output, 1);
  }
  standard_files(const standard_files&) = delete;
  standard_files& operator=(const standard_files&) = delete;
  ~standard_files() {
    ::dup2(input_, 0);
    ::dup2(output_, 1);
    ::close(input_);
    ::close(output_);
  }

private:
  int input_;
  int output_;
};

/// Copies the standard input to the standard output, which are pipes, sockets or files.
struct copies_standard_streams : scenario {
  /// A kernel that opens no pipe anew, and perhaps has no RWF_NOWAIT for it.
  struct system : failing_system {
    bool opens = true;
    bool has_no_wait = true;
    int open(const char* path, int flags, mode_t mode) override {
      const int made = failing_system::open(path, flags, mode);
      if (opens || made < 0) return made;
      ::close(made);
      errno = EACCES;
      return -1;
    }
    ssize_t read_now(int descriptor, void* data, std::size_t size) override {
      if (has_no_wait) return failing_system::read_now(descriptor, data, size);
      errno = EOPNOTSUPP;
      return -1;
    }
    ssize_t write_now(int descriptor, const iovec* parts, int number) override {
      if (has_no_wait) return failing_system::write_now(descriptor, parts, number);
      errno = EOPNOTSUPP;
      return -1;
    }
  };
  copies_standard_streams(faulty_run& r, system& s)
      : scenario(r), all(r.bytes(r.any(2, 15'000))), kind(r.any(0, 2)) {
    s.opens = r.any(0, 1) != 0;
    s.has_no_wait = r.any(0, 1) != 0;
  }
  task<> work() {
    std::array<int, 2> in{-1, -1};
    std::array<int, 2> out{-1, -1};
    if (kind == 0) {
      static_cast<void>(::pipe2(in.data(), O_CLOEXEC));
      static_cast<void>(::pipe2(out.data(), O_CLOEXEC));
    } else if (kind == 1) {
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data());
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out.data());
    } else {
      in[1] = ::memfd_create("in", MFD_CLOEXEC);
      in[0] = ::dup(in[1]);
      out[0] = ::memfd_create("out", MFD_CLOEXEC);
      out[1] = ::dup(out[0]);
    }
    const eddy::unique_descriptor ends[]{
        eddy::unique_descriptor(in[0]), eddy::unique_descriptor(in[1]),
        eddy::unique_descriptor(out[0]), eddy::unique_descriptor(out[1])};
    const ssize_t sent = ::write(in[1], all.data(), all.size());
    run.expect(sent == static_cast<ssize_t>(all.size()), "a pipe has no space for the test");
    if (kind == 1) ::shutdown(in[1], SHUT_WR);
    if (kind == 2) ::lseek(in[1], 0, SEEK_SET);
    std::error_code error;
    {
      const standard_files here(in[0], out[1]);
      if (kind == 0) ::dup2(0, in[1]);  // closes the writing end
      try {
        auto copying = copy_all();
        auto limited = timeout(client_patience, std::move(copying));
        co_await std::move(limited);
      } catch (const std::system_error& e) {
        error = e.code();
      }
    }
    if (error) run.tell(error);
    std::string came(all.size() + 10, '\0');
    if (kind == 2) ::lseek(out[0], 0, SEEK_SET);
    ::fcntl(out[0], F_SETFL, O_NONBLOCK);
    const ssize_t n = ::read(out[0], came.data(), came.size());
    came.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    run.expect_bytes(all, came);
  }
  task<> copy_all() {
    eddy::pipe_reader from = eddy::standard_input(run.loop);
    eddy::pipe_writer to = eddy::standard_output(run.loop);
    std::vector<char> bytes(10'000);
    for (;;) {
      const std::size_t n = co_await from.read(std::span(bytes));
      if (n == 0) break;
      co_await to.write(std::span<const char>(bytes.data(), n));
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static constexpr std::size_t shapes = 12;

  std::string all;
  std::size_t kind;
};

/// A scenario with child processes, of which none may be left.
struct with_children : scenario {
  using scenario::scenario;
  static std::string left() {
    const bool none = ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
    return none ? "" : "a child is left";
  }
  static constexpr std::size_t shapes = 1;
  static constexpr std::size_t patience = 200'000;
};

struct runs_cat : with_children {
  explicit runs_cat(faulty_run& r) : with_children(r), all(r.bytes(r.any(2, 5'000))) {}
  task<> work() {
    heard.clear();
    eddy::process_options options("/bin/cat");
    options.input = eddy::redirection::pipe();
    options.output = eddy::redirection::pipe();
    options.error = eddy::redirection::null();
    options.grace = 0s;
    eddy::process child(run.loop, options);
    auto both = join(feed(child), hear(child.output(), heard, 2'000));
    co_await std::move(both);
    const eddy::exit_status end = co_await child.wait();
    run.expect(run.told || end.success(), "the child failed");
  }
  task<> feed(eddy::process& child) {
    co_await child.input().write(all);
    child.input().close();
  }
  void check() { run.expect_bytes(all, heard); }
  std::string all;
  std::string heard;
};

struct runs_to_the_end : with_children {
  explicit runs_to_the_end(faulty_run& r) : with_children(r), all(r.bytes(r.any(2, 5'000))) {}
  task<> work() {
    eddy::process_options options("/bin/sh", {"-c", "cat; echo err >&2"});
    options.grace = 0s;
    auto running = eddy::run(std::move(options), all);
    const eddy::run_result r = co_await std::move(running);
    // A child that does not read its whole input is no error.
    if (r.output != all) run.tell(std::make_error_code(std::errc::broken_pipe));
    run.expect(all.starts_with(r.output), "the child read other bytes");
    run.expect(r.error == "err\n" && r.status.success(), "the error is not whole");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  std::string all;
};

struct ends_a_child : with_children {
  using with_children::with_children;
  task<> work() {
    // If no signal can be sent, it ends by itself.
    eddy::process_options options("/bin/sleep", {"0.05"});
    options.place = eddy::process_options::group_of_its_own;
    eddy::process child(run.loop, options);
    const std::error_code refused = signal(child);
    if (refused) run.tell(refused);
    child.terminate(1s);
    const eddy::exit_status end = co_await child.wait();
    if (!end.signal) run.tell(std::make_error_code(std::errc::no_such_process));
  }
  static std::error_code signal(eddy::process& child) {
    try {
      static_cast<void>(child.signal(SIGCONT));
      return {};
    } catch (const std::system_error& e) {
      return e.code();
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
};

struct talks_to_a_terminal : with_children {
  using with_children::with_children;
  task<> work() {
    eddy::process_options options("/bin/sh", {"-c", "read line; echo got $line"});
    options.terminal = eddy::window_size{.rows = 10, .columns = 20};
    options.grace = 0s;
    eddy::process child(run.loop, std::move(options));
    run.expect(child.terminal().size().rows == 10, "a terminal has another size");
    co_await child.terminal().write("word\n"sv);
    std::string heard;
    auto hearing = hear(child.terminal(), heard, 100);
    co_await std::move(hearing);
    run.expect(heard.contains("got word"), "the terminal's output is not whole");
    const eddy::exit_status end = co_await child.wait();
    run.expect(end.success(), "the child failed");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  // This error is the end of a terminal.
  static bool possible(call kind, int error) { return kind != call::read || error != EIO; }
};

/// Receives signals that were sent to this thread.
struct receives_signals : numbered {
  explicit receives_signals(faulty_run& r) : numbered(r) {
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGRTMIN);
    ::pthread_sigmask(SIG_BLOCK, &mask, &mask_before);
  }
  ~receives_signals() {
    take_all();
    ::pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
  }
  void take_all() const {
    const timespec none{};
    while (::sigtimedwait(&mask, nullptr, &none) > 0) {
    }
  }
  task<> work() {
    take_all();
    received = 0;
    eddy::signal_queue queue(run.loop, {SIGRTMIN});
    auto both = join(send_all(), receive(queue));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all() {
    for (std::size_t i = 0; i < count; ++i) {
      sigval v{};
      v.sival_int = static_cast<int>(i);
      ::pthread_sigqueue(::pthread_self(), SIGRTMIN, v);
      if (i % 2 == 0) co_await eddy::sleep(1ms);
    }
  }
  task<> receive(eddy::signal_queue& queue) {
    while (received < count) {
      const eddy::signal_info got = co_await queue.receive();
      came(word(static_cast<std::size_t>(got.value)));
    }
  }
  sigset_t mask{};
  sigset_t mask_before{};
  static constexpr std::size_t shapes = 8;
};

// Streams around streams.

/// A client whose bytes are relayed to a server, which sends them back.
struct relays : scenario {
  explicit relays(faulty_run& r)
      : scenario(r), tcp(r.any(0, 1) != 0), question(r.bytes(r.any(2, 30'000))) {
    piece = r.any(1 + question.size() / 4, question.size());
  }
  task<> work() {
    answer.clear();
    if (tcp) {
      stream_pair one(run.loop);
      stream_pair other(run.loop);
      auto all = serve(one.near, one.far, other.near, other.far);
      co_await std::move(all);
    } else {
      auto [client, near] = eddy::socket_pair(run.loop);
      auto [far, server] = eddy::socket_pair(run.loop);
      far.set_send_buffer(small_buffer);
      auto all = serve(client, near, far, server);
      co_await std::move(all);
    }
  }
  template <class Stream>
  task<> serve(Stream& client, Stream& near, Stream& far, Stream& server) {
    auto all = join(say(client, question, piece), hear(client, answer, 50'000), relay(near, far),
                    send_back(server, 50'000));
    auto limited = timeout(client_patience, std::move(all));
    co_await std::move(limited);
  }
  template <class Stream>
  task<> relay(Stream& near, Stream& far) {
    auto copying = eddy::copy_bidirectional(near, far);
    const eddy::copied n = co_await std::move(copying);
    run.expect(n.a_to_b == question.size() && n.b_to_a == question.size(),
               "a relay counts other bytes");
  }
  void check() { run.expect_bytes(question, answer); }
  // next_of fails the test if it is told of a fault.
  static bool possible(call kind, int) { return kind != call::accept; }
  static constexpr std::size_t shapes = 8;

  bool tcp;
  std::string question;
  std::string answer;
  std::size_t piece;
};

/// Copies a stream to two others, which hold any stream and limit the rate.
struct copies_to_two : scenario {
  explicit copies_to_two(faulty_run& r) : scenario(r), all(r.bytes(r.any(2, 20'000))) {}
  task<> work() {
    first.clear();
    second.clear();
    auto [client, near] = eddy::socket_pair(run.loop);
    auto [to, one] = eddy::socket_pair(run.loop);
    auto [also, other] = eddy::socket_pair(run.loop);
    eddy::any_stream a(eddy::limited(std::move(to), 1'000'000, 9'000));
    eddy::any_stream b(std::move(also));
    auto work = join(say(client, all, all.size()), spread(near, a, b), hear(one, first, 7'000),
                     hear(other, second, 7'000));
    auto limited = timeout(client_patience, std::move(work));
    co_await std::move(limited);
  }
  task<> spread(eddy::unix_stream& from, eddy::any_stream& a, eddy::any_stream& b) {
    eddy::copy_options how;
    how.buffer_size = 6'000;
    auto copying = eddy::tee(from, a, b, std::move(how));
    const std::uint64_t n = co_await std::move(copying);
    run.expect(n == all.size(), "a tee counts other bytes");
    a.close();
    b.close();
  }
  void check() {
    run.expect_bytes(all, first);
    run.expect_bytes(all, second);
  }
  static constexpr std::size_t shapes = 8;
  std::string all;
  std::string first;
  std::string second;
};

struct sends_a_file : scenario {
  explicit sends_a_file(faulty_run& r)
      : scenario(r), all(r.bytes(r.any(2, 40'000))), file(::memfd_create("file", MFD_CLOEXEC)) {
    for (std::size_t at = 0; at < all.size();) {
      at += static_cast<std::size_t>(::write(file.number(), all.data() + at, all.size() - at));
    }
  }
  task<> work() {
    heard.clear();
    auto [near, far] = eddy::socket_pair(run.loop);
    near.set_send_buffer(small_buffer);
    auto both = join(send(near), hear(far, heard, 10'000));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send(eddy::unix_stream& to) {
    const std::uint64_t n = co_await eddy::send_file(to, file.number(), 0, all.size() + 10);
    run.expect(n == all.size(), "a send_file counts other bytes");
    to.shutdown();
  }
  void check() { run.expect_bytes(all, heard); }
  static constexpr std::size_t shapes = 10;
  std::string all;
  std::string heard;
  eddy::unique_descriptor file;
};

/// Lines and frames of a buffered stream.
struct reads_units : numbered {
  explicit reads_units(faulty_run& r) : numbered(r), buffer(r.any(1, 1'000)) {}
  task<> work() {
    received = 0;
    auto [near, far] = eddy::socket_pair(run.loop);
    eddy::buffered<eddy::unix_stream> out(std::move(near), buffer);
    eddy::buffered<eddy::unix_stream> in(std::move(far), buffer);
    auto both = join(send_all(out), receive(in));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::buffered<eddy::unix_stream>& out) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      if (i % 2 == 0) {
        const std::string line = message + "\n";
        co_await out.write(line);
      } else {
        auto writing = out.write_frame(eddy::frame_format(), message);
        co_await std::move(writing);
      }
      if (i == 2) co_await out.flush();
    }
    co_await out.shutdown();
  }
  task<> receive(eddy::buffered<eddy::unix_stream>& in) {
    for (;;) {
      if (received % 2 == 0) {
        const auto line = co_await in.read_line(1'000);
        if (!line) break;
        came(*line);
      } else {
        const auto frame = co_await in.read_frame(eddy::frame_format(), 1'000);
        if (!frame) break;
        came(std::string_view(reinterpret_cast<const char*>(frame->data()), frame->size()));
      }
    }
  }
  std::size_t buffer;
  static constexpr std::size_t shapes = 16;
};

/// A queue of writes with handlers.
struct queues_writes : scenario {
  explicit queues_writes(faulty_run& r) : scenario(r), all(r.bytes(r.any(8, 40'000))) {}
  task<> work() {
    heard.clear();
    auto [near, far] = eddy::socket_pair(run.loop);
    near.set_send_buffer(small_buffer);
    eddy::write_queue<eddy::unix_stream> queue(std::move(near));
    queue.on_error([this](std::error_code e) { run.tell(e); });
    auto both = join(send_all(queue), hear(far, heard, 10'000));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::write_queue<eddy::unix_stream>& queue) {
    const std::string_view words = all;
    const std::size_t part = words.size() / 4;
    queue.put(words.substr(0, part));
    queue.put(eddy::shared_bytes(words.substr(part, part)));
    co_await eddy::sleep(1ms);
    queue.put(words.substr(2 * part, part));
    queue.put(words.substr(3 * part));
    co_await queue.flush();
    run.expect(queue.queued() == 0, "bytes are queued after a flush");
    queue.stream().shutdown();
  }
  void check() { run.expect_bytes(all, heard); }
  static constexpr std::size_t shapes = 10;
  std::string all;
  std::string heard;
};

// Names.

/// Asks a name server for both families, by UDP or, because the answer is cut off, by TCP.
struct resolves_names : scenario {
  using system = name_responder;
  resolves_names(faulty_run& r, name_responder& s)
      : scenario(r), server(s), by_tcp(r.any(0, 1) != 0) {
    server.answer = [this](const dns_question& q) {
      if (by_tcp && !q.by_tcp) return name_responder::answers{q.begin(0, 0, true).bytes};
      return name_responder::answers{q.with({"192.0.2.1", "2001:db8::1"})};
    };
  }
  task<> work() {
    eddy::resolver_options how;
    how.servers = {server.where()};
    how.cache_size = 10;
    eddy::resolver names(run.loop, how);
    for (int i = 0; i < 2; ++i) {
      auto resolving = names.resolve("host.example", 443);
      std::vector<address> all = co_await std::move(resolving);
      std::ranges::sort(all);
      const std::vector<address> expected{*address::parse("192.0.2.1:443"),
                                          *address::parse("[2001:db8::1]:443")};
      run.expect(!all.empty() && std::ranges::includes(expected, all),
                 "a name has other addresses");
      // The addresses of one family, if the questions for the other had no answer.
      if (all != expected) run.tell(std::make_error_code(std::errc::timed_out));
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static std::optional<bool> harmless(const fault& f) {
    // c-ares takes a question that it cannot send for one without an answer, and asks only so
    // often.
    if (f.of->kind == call::send_message && f.error == EAGAIN) return !f.for_good;
    return {};
  }
  static constexpr std::size_t shapes = 4;
  name_responder& server;
  bool by_tcp;
};

/// Connects to a name of two families, the first of which is silent.
struct connects_by_dns : scenario {
  using system = planned_network<name_responder>;
  connects_by_dns(faulty_run& r, system& s) : scenario(r), net(s) {
    net.add_host("2001:db8::1");
    net.add_host("192.0.2.1");
    net.accepts("192.0.2.1");
    net.answer = [](const dns_question& q) {
      return name_responder::answers{q.with({"192.0.2.1", "2001:db8::1"})};
    };
  }
  task<> work() {
    eddy::resolver_options how;
    how.servers = {net.where()};
    eddy::resolver names(run.loop, how);
    auto connecting = names.connect("host.example", 80, {.address_limit = 5s});
    const tcp_stream s = co_await std::move(connecting);
    run.expect(s.peer_address().is_v4(), "a connect gave another stream");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  system& net;
  static std::optional<bool> harmless(const fault& f) { return resolves_names::harmless(f); }
  static constexpr std::size_t shapes = 4;
};

}  // namespace

FAULTS_TEST(echoes_by_tcp, "an echo by TCP survives every fault")
FAULTS_TEST(echoes_by_handlers, "an echo by handlers survives every fault")
FAULTS_TEST(accepts_a_flood, "a listener at its limit survives every fault")
FAULTS_TEST(connects_with_options, "a connect with options survives every fault")
FAULTS_TEST(takes_over_sockets, "taking over sockets survives every fault")
FAULTS_TEST(races_addresses, "a race of addresses survives every fault")
FAULTS_TEST(echoes_descriptors, "an echo of descriptors at a path survives every fault")
FAULTS_TEST(sends_packets, "packets with descriptors survive every fault")
FAULTS_TEST(sends_unix_datagrams, "Unix datagrams survive every fault")
FAULTS_TEST(sends_datagrams, "UDP datagrams survive every fault")
FAULTS_TEST(sends_batches, "batches of UDP datagrams survive every fault")
FAULTS_TEST(writes_to_a_pipe, "a pipe survives every fault")
FAULTS_TEST(copies_standard_streams, "the standard streams survive every fault")
FAULTS_TEST(runs_cat, "a process with pipes survives every fault")
FAULTS_TEST(runs_to_the_end, "run survives every fault")
FAULTS_TEST(ends_a_child, "ending a process survives every fault")
FAULTS_TEST(talks_to_a_terminal, "a process on a terminal survives every fault")
FAULTS_TEST(receives_signals, "a queue of signals survives every fault")
FAULTS_TEST(relays, "a relay by splice survives every fault")
FAULTS_TEST(copies_to_two, "a copy to limited streams survives every fault")
FAULTS_TEST(sends_a_file, "a sent file survives every fault")
FAULTS_TEST(reads_units, "lines and frames survive every fault")
FAULTS_TEST(queues_writes, "a queue of writes survives every fault")

TEST_CASE("look-ups by c-ares survive every fault" *
          doctest::skip(!eddy::detail::dns_available())) {
  faults<resolves_names>("resolves_names").run();
  faults<connects_by_dns>("connects_by_dns").run();
}

TEST_CASE("the scenarios above survive 100,000 faults") {
  std::cout << "faults: " << all_faults.injected << " injected, " << all_faults.survived
            << " survived, in " << all_faults.scenarios << " scenarios\n";
  CHECK(all_faults.survived == all_faults.injected);
  // A sanitizer, or a choice of test cases, makes fewer runs.
  if (SANITIZED == 0 && all_faults.scenarios >= 23) CHECK(all_faults.injected >= 100'000);
}
