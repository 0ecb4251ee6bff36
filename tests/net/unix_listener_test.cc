// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_listener.h>.
#include <eddy/net/unix_listener.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/net/unix_connect.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/few_descriptors.h"
#include "support/forked.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"
#include "support/tidy.h"

using eddy::result;
using eddy::task;
using eddy::unix_address;
using eddy::unix_listener;
using eddy::unix_seqpacket_listener;
using eddy::unix_stream;

namespace {

unsigned mode_of(const std::string& path) {
  struct stat file{};
  REQUIRE(::lstat(path.c_str(), &file) == 0);
  return file.st_mode & 07777;
}

bool is_socket(const std::string& path) {
  struct stat file{};
  return ::lstat(path.c_str(), &file) == 0 && S_ISSOCK(file.st_mode);
}

bool exists(const std::string& path) {
  struct stat file{};
  return ::lstat(path.c_str(), &file) == 0;
}

std::size_t files_in(const temporary_directory& d) {
  const std::filesystem::directory_iterator all(d.path());
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Makes a socket file whose socket is closed.
void leave_stale(const std::string& path, int type = SOCK_STREAM) {
  const int number = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  sockaddr_storage name;
  const socklen_t size = unix_address(path).to(name);
  REQUIRE(::bind(number, reinterpret_cast<const sockaddr*>(&name), size) == 0);
  ::close(number);
  REQUIRE(is_socket(path));
}

/// Connects a blocking socket, without eddy. Negative if that fails.
int plain_connection(const unix_address& to, int type = SOCK_STREAM) {
  const int number = ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  if (::connect(number, reinterpret_cast<const sockaddr*>(&name), size) == 0) return number;
  ::close(number);
  return -1;
}

constexpr unix_listener::options replacing{.replace_stale = true};

}  // namespace

ASYNC_TEST("a listener accepts streams at a path, an abstract name, and a name of the system's") {
  const temporary_directory d;
  for (const unix_address& at :
       {unix_address(d / "s"), unix_address::abstract(d / "abstract"), unix_address()}) {
    unix_listener listener(loop, at);
    const unix_address where = listener.local_address();
    CHECK(!where.is_unnamed());
    if (!at.is_unnamed()) CHECK(where == at);
    auto both = eddy::join(listener.accept(), eddy::connect(where));
    auto [accepted, client] = co_await std::move(both);
    CHECK(client.peer_address() == where);
    CHECK(accepted.local_address() == where);
    CHECK(accepted.peer_address().is_unnamed());
    CHECK(accepted.peer_credentials().pid == ::getpid());
    co_await client.write(std::string_view("word"));
    std::array<char, 16> buffer;
    const std::size_t n = co_await accepted.read(buffer);
    CHECK(std::string_view(buffer.data(), n) == "word");
  }
  CHECK(files_in(d) == 0);
}

TEST_CASE_FIXTURE(with_loop, "a listener calls its handler, and try_accept never waits") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  CHECK(!listener.try_accept());
  bool accepted = false;
  listener.accept([&](result<unix_stream> s) { accepted = s.value().open(); });
  const int first = plain_connection(at);
  loop.run();
  CHECK(accepted);
  const int second = plain_connection(at);
  CHECK(listener.try_accept()->value().open());
  ::close(first);
  ::close(second);
}

TEST_CASE_FIXTURE(with_loop, "a stopped accept loses no connection") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  bool called = false;
  listener.accept([&](auto&&) { called = true; });
  const int client = plain_connection(at);
  listener.stop_accepting();
  loop.run();
  CHECK(!called);
  CHECK(listener.try_accept()->value().open());
  ::close(client);
}

TEST_CASE_FIXTURE(with_loop, "the socket file is removed with its listener") {
  const temporary_directory d;
  const std::string path = d / "s";
  unix_listener listener(loop, unix_address(path));
  CHECK(is_socket(path));
  unix_listener moved = std::move(listener);
  CHECK(is_socket(path));
  moved.close();
  CHECK(!exists(path));
  CHECK(!moved.open());
}

TEST_CASE_FIXTURE(with_loop, "a file that the listener did not make is not removed") {
  const temporary_directory d;
  const std::string path = d / "s";
  {
    const unix_listener listener(loop, unix_address(path));
    REQUIRE(::rename(path.c_str(), (d / "moved").c_str()) == 0);
    const std::ofstream other(path);
  }
  CHECK(exists(path));
  CHECK(exists(d / "moved"));
  const std::string second = d / "t";
  {
    const unix_listener listener(loop, unix_address(second));
    REQUIRE(::unlink(second.c_str()) == 0);
    leave_stale(second);
  }
  CHECK(exists(second));
}

TEST_CASE_FIXTURE(with_loop, "remove_file and keep_file leave the file") {
  const temporary_directory d;
  {
    const unix_listener listener(loop, unix_address(d / "s"), {.remove_file = false});
  }
  CHECK(is_socket(d / "s"));
  {
    unix_listener listener(loop, unix_address(d / "t"));
    listener.keep_file();
  }
  CHECK(is_socket(d / "t"));
}

TEST_CASE_FIXTURE(with_loop, "a forked process does not remove the file of its parent") {
  const temporary_directory d;
  const std::string path = d / "s";
  std::optional<unix_listener> listener(std::in_place, loop, unix_address(path));
  CHECK(holds_in_child([&] {
    listener.reset();
    return is_socket(path);
  }));
  CHECK(is_socket(path));
}

TEST_CASE_FIXTURE(with_loop, "a file that exists is not replaced unless the options say so") {
  const temporary_directory d;
  const std::string path = d / "s";
  leave_stale(path);
  try {
    const unix_listener listener(loop, unix_address(path));
    FAIL("it listens");
  } catch (const std::system_error& e) {
    CHECK(std::string(e.what()) == "listen at " + path + ": Address already in use");
  }
  unix_listener listener(loop, unix_address(path), replacing);
  const int client = plain_connection(unix_address(path));
  CHECK(client >= 0);
  CHECK(listener.try_accept()->value().open());
  CHECK(files_in(d) == 1);
  ::close(client);
}

TEST_CASE_FIXTURE(with_loop, "a stale file of a datagram socket is replaced, too") {
  const temporary_directory d;
  leave_stale(d / "s", SOCK_DGRAM);
  CHECK(unix_listener(loop, unix_address(d / "s"), replacing).open());
}

TEST_CASE_FIXTURE(with_loop, "a socket in use, a file, a directory and a link are never replaced") {
  const temporary_directory d;
  const unix_address at(d / "s");
  const auto replaces = [&loop = loop](const unix_address& a) {
    return code_from([&] { const unix_listener l(loop, a, replacing); });
  };
  {
    unix_listener first(loop, at);
    CHECK(replaces(at) == std::errc::address_in_use);
    CHECK(!first.try_accept());  // no trace of the test
    const int client = plain_connection(at);
    CHECK(first.try_accept()->value().open());
    ::close(client);
  }
  {
    // Bound, and not listening yet.
    const int number = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage name;
    const socklen_t size = at.to(name);
    REQUIRE(::bind(number, reinterpret_cast<const sockaddr*>(&name), size) == 0);
    CHECK(replaces(at) == std::errc::address_in_use);
    ::close(number);
  }
  {
    const std::ofstream file(d / "file");
  }
  CHECK(replaces(unix_address(d / "file")) == std::errc::address_in_use);
  REQUIRE(::mkdir((d / "dir").c_str(), 0777) == 0);
  CHECK(replaces(unix_address(d / "dir")) == std::errc::address_in_use);
  REQUIRE(::symlink((d / "s").c_str(), (d / "link").c_str()) == 0);
  CHECK(replaces(unix_address(d / "link")) == std::errc::address_in_use);
  CHECK(files_in(d) == 4);
}

namespace {

/// Replaces the stale file by a socket in use, just before it is moved aside.
class racing_system : public failing_system {
public:
  racing_system(eddy::event_loop& loop, unix_address at) : loop_(loop), at_(at) {}
  int rename(const char* from, const char* to, bool replaces) override {
    if (!raced_) {
      raced_ = true;
      ::unlink(from);
      winner.emplace(loop_, at_);
    }
    return failing_system::rename(from, to, replaces);
  }
  std::optional<unix_listener> winner;

private:
  eddy::event_loop& loop_;
  unix_address at_;
  bool raced_ = false;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "of two processes that replace one stale file, one wins") {
  const temporary_directory d;
  const unix_address at(d / "s");
  leave_stale(d / "s");
  racing_system system(loop, at);
  CHECK(code_from([&] { const unix_listener l(loop, at, replacing); }) ==
        std::errc::address_in_use);
  REQUIRE(system.winner.has_value());
  const int client = plain_connection(at);
  CHECK(client >= 0);
  CHECK(system.winner->try_accept()->value().open());
  CHECK(files_in(d) == 1);
  ::close(client);
  system.winner.reset();
  CHECK(files_in(d) == 0);
}

TEST_CASE_FIXTURE(with_loop, "the file has exactly the permissions of the options") {
  const temporary_directory d;
  const mode_t before = ::umask(027);
  for (const unsigned mode : {0777U, 0660U, 0600U, 0U}) {
    const unix_listener listener(loop, unix_address(d / "s"), {.permissions = mode});
    CHECK(mode_of(d / "s") == mode);
  }
  const unix_listener listener(loop, unix_address(d / "s"));
  CHECK(mode_of(d / "s") == 0750);
  ::umask(before);
}

namespace {

/// Notes the permissions of the file, and whether anybody can connect, before each call.
class watching_system : public failing_system {
public:
  explicit watching_system(std::string path) : path_(std::move(path)) {}
  int status(const char* path, struct ::stat* what) override {
    look();
    return failing_system::status(path, what);
  }
  int set_path_mode(const char* path, mode_t mode) override {
    look();
    return failing_system::set_path_mode(path, mode);
  }
  int listen(int descriptor, int backlog) override {
    look();
    at_listen = mode_of(path_);
    return failing_system::listen(descriptor, backlog);
  }
  unsigned at_listen = 07777;
  unsigned most = 0;
  bool reachable = false;

private:
  void look() {
    if (!exists(path_)) return;
    most |= mode_of(path_);
    if (const int client = plain_connection(unix_address(path_)); client >= 0) {
      reachable = true;
      ::close(client);
    }
  }
  std::string path_;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "the permissions are set before anybody can connect") {
  const temporary_directory d;
  const mode_t before = ::umask(0);
  for (const mode_t mask : {0, 0777}) {
    ::umask(mask);
    watching_system system(d / "s");
    const unix_listener listener(loop, unix_address(d / "s"), {.permissions = 0640U});
    CHECK(system.at_listen == 0640);
    CHECK((system.most & ~0640U) == 0);
    CHECK(!system.reachable);
  }
  ::umask(before);
}

TEST_CASE_FIXTURE(with_loop,
                  "each call that listens may fail: the error names the path, no file is left") {
  const temporary_directory d;
  const std::string path = d / "s";
  int failures = 0;
  for (std::size_t k = 1;; ++k) {
    INFO(k);
    failing_system system;
    system.fail_any(EACCES, k);
    bool made = false;
    try {
      const unix_listener listener(loop, unix_address(path), {.permissions = 0666U});
      made = true;
    } catch (const std::system_error& e) {
      CHECK(e.code() == std::errc::permission_denied);
      CHECK(std::string(e.what()).starts_with("listen at " + path));
      ++failures;
    }
    // A file whose removal failed is left: the next test would find it.
    if (made && exists(path)) ::unlink(path.c_str());
    CHECK(files_in(d) == 0);
    if (!system.has_failed()) break;
  }
  CHECK(failures >= 6);
}

TEST_CASE_FIXTURE(with_loop, "each call that replaces a stale file may fail") {
  const temporary_directory d;
  const std::string path = d / "s";
  for (std::size_t k = 1;; ++k) {
    INFO(k);
    if (!exists(path)) leave_stale(path);
    failing_system system;
    system.fail_any(EIO, k);
    const auto error =
        code_from([&] { const unix_listener l(loop, unix_address(path), replacing); });
    const bool known = !error || error == std::errc::io_error || error == std::errc::address_in_use;
    CHECK(known);
    std::filesystem::remove_all(d.path());
    std::filesystem::create_directory(d.path());
    if (!system.has_failed()) break;
  }
}

TEST_CASE_FIXTURE(with_loop, "a stale file that cannot be removed stays where it was") {
  const temporary_directory d;
  const std::string path = d / "s";
  leave_stale(path);
  failing_system system;
  for (const int error : {EACCES, EBUSY, EPERM, EROFS}) {
    system.fail(call::remove, error);
    CHECK(code_from([&] { const unix_listener l(loop, unix_address(path), replacing); }) ==
          std::errc::address_in_use);
    CHECK(exists(path));
    CHECK(files_in(d) == 1);
  }
}

TEST_CASE_FIXTURE(with_loop, "a stale file is replaced though signals interrupt its test") {
  const temporary_directory d;
  const std::string path = d / "s";
  for (const std::size_t kth : {1, 2}) {
    leave_stale(path);
    failing_system system;
    system.fail_times(call::connect, EINTR, kth, 3);
    const unix_listener listener(loop, unix_address(path), replacing);
    CHECK(system.faults() == 3);
    CHECK(files_in(d) == 1);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a listener for which there is no memory leaves no file and nothing open") {
  using eddy::detail::failing_allocations;
  const temporary_directory d;
  const std::string path = d / "s";
  const unix_address at(path);
  bool made = false;
  for (std::size_t k = 0; !made && k < 100; ++k) {
    const failing_allocations one(k, failing_allocations::times::once);
    try {
      const unix_listener listener(loop, at);
      made = true;
    } catch (const std::bad_alloc&) {
    }
    CHECK(!exists(path));
  }
  CHECK(made);
}

ASYNC_TEST("a seqpacket listener accepts connections that keep the boundaries of messages") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_seqpacket_listener listener(loop, at);
  auto both = eddy::join(listener.accept(), eddy::connect_seqpacket(at));
  auto [accepted, client] = co_await std::move(both);
  co_await client.send(std::string_view("one"));
  co_await client.send(std::string_view("two"));
  std::array<char, 16> buffer;
  const eddy::received_message first = co_await accepted.receive(buffer);
  CHECK(first.size == 3);
  const auto wrong = co_await eddy::as_result(eddy::connect(at));
  REQUIRE(!wrong);
  CHECK(wrong.error() == std::errc::wrong_protocol_type);
  const unix_seqpacket_listener abstract(loop, unix_address());
  const auto other = co_await eddy::as_result(eddy::connect(abstract.local_address()));
  REQUIRE(!other);
  CHECK(other.error() == std::errc::connection_refused);
}

TEST_CASE_FIXTURE(with_loop,
                  "a listener takes over a socket that listens, and says what another is") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener first(loop, at);
  const int copy = ::fcntl(first.descriptor(), F_DUPFD_CLOEXEC, 0);
  unix_listener second(loop, copy);
  CHECK(second.local_address() == at);
  const int client = plain_connection(at);
  CHECK(second.try_accept()->value().open());
  ::close(client);
  second.close();
  CHECK(is_socket(d / "s"));  // it is the first one's
  const auto refuses = [&loop = loop](int number) {
    try {
      const unix_listener l(loop, number);
    } catch (const std::system_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(refuses(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))
            .find(", which does not listen, as a unix_listener: Invalid argument") !=
        std::string::npos);
  CHECK(refuses(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)).find("a seqpacket socket") !=
        std::string::npos);
  CHECK(refuses(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)).find("which is no Unix socket") !=
        std::string::npos);
}

TEST_CASE("misuse of a unix_listener aborts with a message") {
  dies_saying("a unix_listener was used that is not open", [] {
    unix_listener none;
    none.stop_accepting();
  });
  dies_saying("an accept is already pending on this listener (@eddy-test-twice, descriptor", [] {
    eddy::event_loop loop;
    unix_listener listener(loop, unix_address::abstract("eddy-test-twice"));
    listener.accept([](auto&&) {});
    listener.accept([](auto&&) {});
  });
}

// Shedding

namespace {

/// A listener of either kind at an abstract address, on a loop whose clock stands still.
template <class Listener>
struct shedding : with_still_loop {
  using stream = std::conditional_t<std::is_same_v<Listener, unix_listener>, unix_stream,
                                    eddy::unix_seqpacket>;

  Listener listener{loop, unix_address(), {.connections_at_limit = eddy::at_limit::shed}};

  [[nodiscard]] int connection() const {
    const int type = std::is_same_v<stream, unix_stream> ? SOCK_STREAM : SOCK_SEQPACKET;
    return plain_connection(listener.local_address(), type);
  }
  void turns(int count) {
    while (count-- > 0) loop.run_ready();
  }
};

}  // namespace

#define EITHER_LISTENER unix_listener, unix_seqpacket_listener

TEST_CASE_TEMPLATE("a shedding Unix listener closes connections at the limit, and goes on",
                   Listener, EITHER_LISTENER) {
  for (const bool own_socket : {true, false}) {
    shedding<Listener> on;
    if (!own_socket) {
      on.listener = Listener(on.loop, unix_address());
      on.listener.set_at_limit(eddy::at_limit::shed);
    }
    std::vector<descriptor> clients;
    for (int i = 0; i < 40; ++i) clients.emplace_back(on.connection());
    std::vector<typename shedding<Listener>::stream> accepted;
    std::function<void()> more = [&] {
      on.listener.accept([&](auto s) {
        accepted.push_back(std::move(s.value()));
        more();
      });
    };
    {
      const few_descriptors_free limit(14);  // eight of which are kept free
      more();
      int turns = 0;
      while (turns < 100 && on.loop.run_ready()) ++turns;
      CHECK(turns < 100);
      CHECK(accepted.size() == 6);
      CHECK(on.listener.shed_count() == 34);
      CHECK(on.loop.count().timers == 0);
      std::size_t closed = 0;
      for (const descriptor& client : clients) closed += closed_by_peer(client) ? 1 : 0;
      CHECK(closed == 34);
      accepted.pop_back();  // one is free again
    }
    const descriptor last(on.connection());
    on.turns(3);
    CHECK(accepted.size() == 6);
    CHECK(on.listener.shed_count() == 34);
    on.listener.stop_accepting();
    on.listener.close();
  }
}

TEST_CASE_TEMPLATE("a shedding Unix listener without a free descriptor uses its reserve", Listener,
                   EITHER_LISTENER) {
  shedding<Listener> on;
  const descriptor first(on.connection());
  const auto open = on.listener.try_accept();
  std::vector<descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(on.connection());
  const few_descriptors_free limit(0);
  on.listener.accept([](const auto&) { FAIL("no descriptor is free"); });
  on.turns(3);
  CHECK(on.listener.shed_count() == 3);
  for (const descriptor& client : clients) CHECK(closed_by_peer(client));
  CHECK(::dup(STDERR_FILENO) == -1);  // the listener has its reserve again
  CHECK(on.loop.count().timers == 0);
  on.listener.stop_accepting();
}

TEST_CASE_TEMPLATE("a Unix listener holds connections at the limit, unless it is told to shed",
                   Listener, EITHER_LISTENER) {
  shedding<Listener> on;
  const std::size_t with_reserve = open_descriptors();
  on.listener.set_at_limit(eddy::at_limit::hold);
  CHECK(open_descriptors() == with_reserve - 1);
  const descriptor client(on.connection());
  failing_system system;
  system.fail(call::accept, EMFILE);
  bool accepted = false;
  on.listener.accept([&](const auto& s) { accepted = s.has_value(); });
  on.turns(2);
  CHECK(on.loop.count().timers == 1);  // the pause
  on.clock.advance(std::chrono::milliseconds(50));
  on.turns(2);
  CHECK(accepted);
  CHECK(on.listener.shed_count() == 0);
}

TEST_CASE_TEMPLATE("a shedding Unix listener pauses for want of memory", Listener,
                   EITHER_LISTENER) {
  shedding<Listener> on;
  const descriptor client(on.connection());
  failing_system system;
  system.fail(call::accept, ENOMEM);
  bool accepted = false;
  on.listener.accept([&](const auto& s) { accepted = s.has_value(); });
  on.turns(2);
  CHECK(on.listener.shed_count() == 0);
  CHECK(on.loop.count().timers == 1);
  on.clock.advance(std::chrono::milliseconds(50));
  on.turns(2);
  CHECK(accepted);
}

TEST_CASE_FIXTURE(with_loop, "a Unix listener without a descriptor for its reserve is not made") {
  const temporary_directory d;
  const unix_address at(d / "s");
  failing_system system;
  system.fail(call::socket, EMFILE, 2);
  CHECK(words_from([&] {
          const unix_listener made(
              loop, at, {.connections_at_limit = eddy::at_limit::shed, .remove_file = false});
        }) == "keep a descriptor in reserve for the listener at " + at.to_string() +
                  ": Too many open files");
  CHECK(files_in(d) == 0);  // it leaves no file of a socket that nobody has
  const unix_listener first(loop, unix_address());
  unix_listener listener(loop, ::dup(first.descriptor()));
  system.fail(call::socket, EMFILE);
  CHECK_THROWS_AS(listener.set_at_limit(eddy::at_limit::shed), std::system_error);
  CHECK(listener.open());
}
