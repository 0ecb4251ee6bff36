// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/descriptor_watch.h>.
#include <eddy/loop/descriptor_watch.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::descriptor_watch;
using events = eddy::descriptor_events;

static_assert(std::is_nothrow_move_constructible_v<descriptor_watch>);
static_assert(!std::is_copy_constructible_v<descriptor_watch>);

namespace {

/// Two ends of a TCP connection on the loopback interface.
struct tcp_pair {
  tcp_pair() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const name = reinterpret_cast<sockaddr*>(&at);
    REQUIRE(::bind(listener, name, size) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    REQUIRE(::getsockname(listener, name, &size) == 0);
    far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(far, name, size) == 0);
    near = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    REQUIRE(near >= 0);
    ::close(listener);
  }
  tcp_pair(const tcp_pair&) = delete;
  tcp_pair& operator=(const tcp_pair&) = delete;
  ~tcp_pair() {
    ::close(near);
    ::close(far);
  }
  int near = -1;
  int far = -1;
};

/// A UDP socket whose datagrams to itself leave time stamps in its error queue.
struct stamped_socket {
  stamped_socket() : number(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const name = reinterpret_cast<sockaddr*>(&at);
    REQUIRE(::bind(number, name, size) == 0);
    REQUIRE(::getsockname(number, name, &size) == 0);
    const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    REQUIRE(::setsockopt(number, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) == 0);
  }
  stamped_socket(const stamped_socket&) = delete;
  stamped_socket& operator=(const stamped_socket&) = delete;
  ~stamped_socket() { ::close(number); }
  void send() const {
    const auto* const name = reinterpret_cast<const sockaddr*>(&at);
    REQUIRE(::sendto(number, "x", 1, 0, name, sizeof at) == 1);
  }
  void read_errors() const {
    char some[64];
    while (::recv(number, some, sizeof some, MSG_ERRQUEUE) >= 0) {
    }
  }
  int number;
  sockaddr_in at{};
};

std::string words(const eddy::result<events>& r) {
  if (!r) return r.error() == std::errc::bad_file_descriptor ? "closed" : "error";
  std::string all;
  if (contains(*r, events::readable)) all += 'r';
  if (contains(*r, events::writable)) all += 'w';
  if (contains(*r, events::priority)) all += 'p';
  if (contains(*r, events::hang_up)) all += 'h';
  if (contains(*r, events::error)) all += 'e';
  return all;
}

void turns(eddy::event_loop& loop, int count) {
  while (count-- > 0) loop.run_ready();
}

std::error_code refusal(eddy::event_loop& loop, int descriptor) {
  descriptor_watch watch(loop, descriptor);
  try {
    watch.start(events::readable, [](const eddy::result<events>&) {});
  } catch (const std::system_error& e) {
    CHECK_FALSE(watch.active());
    return e.code();
  }
  return {};
}

/// An epoll set of the program's, which watches one descriptor or none.
struct foreign_set {
  explicit foreign_set(int watched = -1) {
    if (watched >= 0) CHECK(add(watched) == 0);
  }
  foreign_set(const foreign_set&) = delete;
  foreign_set& operator=(const foreign_set&) = delete;
  ~foreign_set() { ::close(number); }

  /// Returns 0 or an `errno`.
  [[nodiscard]] int add(int watched) const {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    return ::epoll_ctl(number, EPOLL_CTL_ADD, watched, &wanted) == 0 ? 0 : errno;
  }

  int number = ::epoll_create1(EPOLL_CLOEXEC);
};

/// The descriptors that `make` leaves open, by the numbers that were free before.
template <class Make>
std::vector<int> opened_by(Make make) {
  const auto is_open = [](int number) { return ::fcntl(number, F_GETFD) >= 0; };
  std::vector<int> free;
  for (int number = 0; number < 256; ++number) {
    if (!is_open(number)) free.push_back(number);
  }
  make();
  std::erase_if(free, [&](int number) { return !is_open(number); });
  return free;
}

}  // namespace

TEST_CASE_TEMPLATE("a watch calls its handler in each turn until the bytes are read", Loop,
                   ANY_LOOP) {
  const socket_pair pair;
  Loop on;
  int calls = 0;
  descriptor_watch watch(on.loop, pair.near());
  watch.start(events::readable, [&](const eddy::result<events>& r) {
    CHECK(words(r) == "r");
    if (++calls == 1) on.loop.defer([] {});
    if (calls < 3) return;
    pair.receive();
    if (calls < 5) {
      pair.send();
    } else {
      watch.stop();
    }
  });
  CHECK(watch.active());
  pair.send();
  on.run();  // the watch keeps it running
  CHECK(calls == 5);
  CHECK_FALSE(watch.active());
}

TEST_CASE_TEMPLATE("a watch in the background does not keep its loop running", Loop, ANY_LOOP) {
  const socket_pair pair;
  Loop on;
  descriptor_watch watch(on.loop, pair.near());
  watch.background(true);
  watch.start(events::readable, [](const eddy::result<events>&) {});
  on.run();
  watch.background(false);
  CHECK(on.loop.count().waiting == 1);
  watch.background(true);
  on.run();
  watch.stop();
}

TEST_CASE_FIXTURE(with_loop, "a watch of writes is called while there is space") {
  const socket_pair pair;
  journal note;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::writable, [&](const eddy::result<events>& r) { note(words(r)); });
  turns(loop, 2);
  CHECK(note == "w w");
  pair.fill();
  turns(loop, 3);
  CHECK(note == "w w");
}

TEST_CASE_FIXTURE(with_loop, "urgent data is priority data") {
  const tcp_pair pair;
  journal note;
  descriptor_watch watch(loop, pair.near);
  watch.start(events::priority, [&](const eddy::result<events>& r) {
    note(words(r));
    char byte = 0;
    CHECK(::recv(pair.near, &byte, 1, MSG_OOB) == 1);
    loop.stop();
  });
  CHECK(::send(pair.far, "normal", 6, 0) == 6);
  turns(loop, 3);
  CHECK(note == "");
  CHECK(::send(pair.far, "!", 1, MSG_OOB) == 1);
  loop.run();
  turns(loop, 3);
  CHECK(note == "p");
}

TEST_CASE_FIXTURE(with_loop, "a change of /proc/self/mounts can be waited for") {
  const int file = ::open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
  REQUIRE(file >= 0);
  descriptor_watch watch(loop, file);
  watch.start(events::priority, [](const eddy::result<events>&) {});
  turns(loop, 3);
  watch.stop();
  ::close(file);
}

TEST_CASE_FIXTURE(with_loop, "a hang-up is reported behind unread bytes") {
  const socket_pair pair;
  journal note;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::hang_up, [&](const eddy::result<events>& r) { note(words(r)); });
  pair.send("unread");
  turns(loop, 3);
  CHECK(note == "");
  ::shutdown(pair.far(), SHUT_WR);
  turns(loop, 2);
  CHECK(note == "h h");
  watch.stop();
  CHECK(pair.receive() == "unread");
}

TEST_CASE_FIXTURE(with_loop, "an error queue is told, keeps no loop busy, and can be read") {
  // A datagram to itself leaves a time stamp in the error queue.
  const int udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* const name = reinterpret_cast<sockaddr*>(&at);
  REQUIRE(::bind(udp, name, size) == 0);
  REQUIRE(::getsockname(udp, name, &size) == 0);
  const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  REQUIRE(::setsockopt(udp, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) == 0);
  int calls = 0;
  std::string last;
  descriptor_watch watch(loop, udp);
  watch.start(events::readable, [&](const eddy::result<events>& r) {
    ++calls;
    last = words(r);
    char some[64];
    static_cast<void>(::recv(udp, some, sizeof some, 0));
  });
  REQUIRE(::sendto(udp, "x", 1, 0, name, size) == 1);
  turns(loop, 20);
  CHECK(last == "e");
  CHECK(calls <= 4);
  const int before = calls;
  turns(loop, 20);
  CHECK(calls == before);
  CHECK_FALSE(loop.run_ready());                       // nothing spins
  REQUIRE(::sendto(udp, "y", 1, 0, name, size) == 1);  // bytes are still noticed
  turns(loop, 20);
  CHECK(calls > before);
  char some[64];
  CHECK(::recv(udp, some, sizeof some, MSG_ERRQUEUE) >= 0);
  CHECK(::recv(udp, some, sizeof some, MSG_ERRQUEUE) >= 0);
  CHECK(::recv(udp, some, sizeof some, MSG_ERRQUEUE) < 0);
  const int drained = calls;
  turns(loop, 5);
  CHECK(calls <= drained + 1);
  watch.stop();
  ::close(udp);
}

TEST_CASE_FIXTURE(with_loop, "several watches of one descriptor get what each wants") {
  const socket_pair pair;
  journal note;
  descriptor_watch reads(loop, pair.near());
  descriptor_watch writes(loop, pair.near());
  std::optional<descriptor_watch> both(std::in_place, loop, pair.near());
  reads.start(events::readable, [&](const eddy::result<events>& r) { note("a" + words(r)); });
  writes.start(events::writable, [&](const eddy::result<events>& r) { note("b" + words(r)); });
  both->start(events::readable | events::writable,
              [&](const eddy::result<events>& r) { note("c" + words(r)); });
  turns(loop, 1);
  CHECK(note == "bw cw");
  pair.send();
  turns(loop, 1);
  CHECK(note == "bw cw ar bw crw");
  both.reset();
  writes.stop();
  turns(loop, 1);
  CHECK(note == "bw cw ar bw crw ar");
  reads.stop();
  turns(loop, 2);
  CHECK(note == "bw cw ar bw crw ar");
}

TEST_CASE_FIXTURE(with_loop, "start_once calls once, and other watches go on") {
  const socket_pair pair;
  journal note;
  descriptor_watch once(loop, pair.near());
  descriptor_watch always(loop, pair.near());
  once.start_once(events::readable, [&](const eddy::result<events>& r) { note("o" + words(r)); });
  always.start(events::readable, [&](const eddy::result<events>& r) { note("a" + words(r)); });
  pair.send();
  turns(loop, 2);
  CHECK(note == "or ar ar");
  CHECK_FALSE(once.active());
  always.stop();
  once.start_once(events::hang_up, [&](const eddy::result<events>& r) { note(words(r)); });
  once.start_once(events::readable, [&](const eddy::result<events>& r) { note("n" + words(r)); });
  turns(loop, 2);
  CHECK(note == "or ar ar nr");
}

TEST_CASE_FIXTURE(with_loop, "a watch may be moved, stopped and destroyed by its handler") {
  const socket_pair pair;
  pair.send();
  int calls = 0;
  std::optional<descriptor_watch> second;
  descriptor_watch first(loop, pair.near());
  first.start(events::readable, [&](const eddy::result<events>&) {
    ++calls;
    if (!second) second.emplace(std::move(first));
  });
  turns(loop, 2);
  CHECK(calls == 2);
  CHECK_FALSE(first.active());
  second->start(events::readable, [&](const eddy::result<events>&) {
    ++calls;
    second.reset();
  });
  turns(loop, 3);
  CHECK(calls == 3);
  int alive = 0;
  descriptor_watch third(loop, pair.near());
  third.start(events::readable, [&, c = counted(alive)](const eddy::result<events>&) {
    third.stop();
    ++calls;
  });
  turns(loop, 3);
  CHECK(calls == 4);
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(with_loop, "a watch that is stopped before its call is not called") {
  const socket_pair pair;
  pair.send();
  int calls = 0;
  std::optional<descriptor_watch> first(std::in_place, loop, pair.near());
  std::optional<descriptor_watch> second(std::in_place, loop, pair.near());
  first->start(events::readable, [&](const eddy::result<events>&) {
    ++calls;
    second.reset();
  });
  second->start(events::readable, [&](const eddy::result<events>&) {
    ++calls;
    first.reset();
  });
  turns(loop, 2);
  CHECK(calls >= 1);
  CHECK(!second);
  first.reset();
}

TEST_CASE_FIXTURE(with_loop,
                  "a watch whose descriptor was closed ends when its number is watched") {
  socket_pair old;
  journal note;
  descriptor_watch first(loop, old.near());
  first.start(events::readable, [&](const eddy::result<events>& r) { note(words(r)); });
  const int number = old.near();
  old.close_near();
  const socket_pair fresh;
  REQUIRE(fresh.near() == number);
  descriptor_watch second(loop, number);
  second.start(events::readable, [&](const eddy::result<events>& r) { note("new " + words(r)); });
  turns(loop, 1);
  CHECK(note == "closed");
  CHECK_FALSE(first.active());
  fresh.send();
  turns(loop, 1);
  CHECK(note == "closed new r");
}

TEST_CASE_FIXTURE(with_loop, "a copy of a closed descriptor keeps no loop busy") {
  socket_pair pair;
  const socket_pair other;
  const int copy = ::dup(pair.near());
  int calls = 0;
  descriptor_watch watch(loop, pair.near());
  descriptor_watch good(loop, other.near());
  good.start(events::readable, [&](const eddy::result<events>&) { ++calls; });
  watch.start(events::readable, [](const eddy::result<events>&) { FAIL("it was stopped"); });
  turns(loop, 1);
  pair.close_near();
  watch.stop();
  pair.send();
  turns(loop, 3);
  CHECK_FALSE(loop.run_ready());
  other.send();
  turns(loop, 1);
  CHECK(calls == 1);
  ::close(copy);
}

TEST_CASE_FIXTURE(with_loop, "starting a watch tells why a descriptor cannot be watched") {
  CHECK(refusal(loop, -1) == std::errc::bad_file_descriptor);
  for (const char* const path : {"/", "/dev/null", "/dev/zero", "/dev/urandom"}) {
    const int always_ready = ::open(path, O_RDONLY | O_CLOEXEC);
    CHECK(refusal(loop, always_ready) == std::errc::operation_not_permitted);
    ::close(always_ready);
  }
  const int memory = ::memfd_create("test", MFD_CLOEXEC);
  CHECK(refusal(loop, memory) == std::errc::operation_not_permitted);
  ::close(memory);
  const int file = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  CHECK(refusal(loop, file) == std::errc::operation_not_permitted);
  ::close(file);
  CHECK(refusal(loop, file) == std::errc::bad_file_descriptor);
  CHECK(refusal(loop, loop.descriptor()) == std::errc::invalid_argument);
  loop.run();
}

TEST_CASE_FIXTURE(with_loop,
                  "a hang-up is told to a watch that does not wait for it, not for ever") {
  socket_pair pair;
  journal note;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::priority, [&](const eddy::result<events>& r) { note(words(r)); });
  turns(loop, 1);
  pair.close_far();
  turns(loop, 3);
  CHECK(note.text().starts_with("h"));
  CHECK(note.text().size() <= 3);  // once or twice
  CHECK_FALSE(loop.run_ready());
  CHECK(watch.active());
}

TEST_CASE_FIXTURE(with_loop, "an unwanted hang-up is not told again because of other watches") {
  socket_pair pair;
  int calls = 0;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::priority, [&](const eddy::result<events>&) { ++calls; });
  pair.close_far();
  SUBCASE("of which one is called in each turn") {
    int others = 0;
    descriptor_watch other(loop, pair.near());
    other.start(events::writable, [&](const eddy::result<events>&) { ++others; });
    turns(loop, 20);
    CHECK(others == 20);
  }
  SUBCASE("that start and call once") {
    for (int i = 0; i < 10; ++i) {
      descriptor_watch other(loop, pair.near());
      int others = 0;
      other.start_once(events::readable, [&](const eddy::result<events>&) { ++others; });
      turns(loop, 3);
      CHECK(others == 1);
    }
  }
  SUBCASE("that get it and stop") {
    for (int i = 0; i < 10; ++i) {
      descriptor_watch other(loop, pair.near());
      int others = 0;
      other.start(events::priority, [&](const eddy::result<events>&) { ++others; });
      turns(loop, 3);
      CHECK(others >= 1);
      CHECK(others <= 2);
    }
  }
  turns(loop, 3);
  CHECK(calls >= 1);
  CHECK(calls <= 2);
  CHECK_FALSE(loop.run_ready());
  calls = 0;
  watch.start(events::priority, [&](const eddy::result<events>&) { ++calls; });
  turns(loop, 3);
  CHECK(calls >= 1);  // a watch that starts anew is told
  CHECK(calls <= 2);
  watch.stop();  // the last watch of the descriptor
  calls = 0;
  watch.start(events::priority, [&](const eddy::result<events>&) { ++calls; });
  descriptor_watch other(loop, pair.near());
  other.start(events::writable, [](const eddy::result<events>&) {});
  turns(loop, 20);
  CHECK(calls >= 1);
  CHECK(calls <= 2);
}

TEST_CASE_FIXTURE(with_loop, "a watch that is called once for an unwanted hang-up opens nothing") {
  const auto next_number = [] {
    const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(next);
    return next;
  };
  socket_pair pair;
  int calls = 0;
  descriptor_watch watch(loop, pair.near());
  watch.start_once(events::priority, [&](const eddy::result<events>&) { ++calls; });
  turns(loop, 1);
  pair.close_far();
  const int before = next_number();
  turns(loop, 3);
  CHECK(calls == 1);
  CHECK(next_number() == before);
}

TEST_CASE_FIXTURE(with_loop,
                  "a new entry of an error queue is told beside a watch that is called") {
  stamped_socket udp;
  int calls = 0;
  int others = 0;
  descriptor_watch watch(loop, udp.number);
  watch.start(events::priority, [&](const eddy::result<events>& r) {
    CHECK(words(r) == "e");
    ++calls;
  });
  descriptor_watch other(loop, udp.number);
  other.start(events::writable, [&](const eddy::result<events>&) { ++others; });
  for (int i = 1; i <= 3; ++i) {
    udp.send();
    turns(loop, 10);
    CHECK(calls >= i);
    const int before = calls;
    turns(loop, 10);
    CHECK(calls == before);
    udp.read_errors();
    turns(loop, 2);
    CHECK(calls == before);
  }
  CHECK(others > 30);
}

TEST_CASE_FIXTURE(with_loop, "an unwanted hang-up is told in a forked child, too") {
  socket_pair pair;
  int calls = 0;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::priority, [&](const eddy::result<events>&) { ++calls; });
  descriptor_watch other(loop, pair.near());
  other.start(events::writable, [](const eddy::result<events>&) {});
  pair.close_far();
  turns(loop, 5);
  const int before = calls;
  CHECK(before <= 2);
  CHECK(holds_in_child([&] {
    turns(loop, 10);
    return calls > before && calls <= before + 2;
  }));
  turns(loop, 5);
  CHECK(calls == before);
}

TEST_CASE_FIXTURE(with_loop,
                  "a copy of a closed descriptor whose hang-up was told keeps no loop busy") {
  socket_pair pair;
  socket_pair later;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::priority, [](const eddy::result<events>&) {});
  pair.close_far();
  turns(loop, 5);
  const int number = pair.near();
  const int copy = ::dup(number);
  REQUIRE(::dup2(later.near(), number) == number);  // closes the watched descriptor
  watch.stop();
  int calls = 0;
  watch.start(events::writable, [&](const eddy::result<events>&) { ++calls; });
  turns(loop, 5);
  CHECK(calls == 5);
  watch.stop();
  CHECK_FALSE(loop.run_ready());
  ::close(copy);
}

TEST_CASE_TEMPLATE("an epoll set that watches the loop, directly or not, is refused at the start",
                   Loop, ANY_LOOP) {
  Loop on;
  on.loop.run_ready();
  const foreign_set direct(on.loop.descriptor());
  const foreign_set indirect(direct.number);
  const int copy = ::dup(on.loop.descriptor());
  const auto all_refused = [&] {
    for (const int number : {indirect.number, direct.number, copy}) {
      CHECK(refusal(on.loop, number) == std::errc::too_many_symbolic_link_levels);
    }
    CHECK(refusal(on.loop, on.loop.descriptor()) == std::errc::invalid_argument);
  };
  all_refused();  // before the loop has watched any descriptor
  const socket_pair pair;
  descriptor_watch watch(on.loop, pair.near());
  journal note;
  watch.start(events::readable, [&](const eddy::result<events>& r) {
    note(words(r));
    pair.receive();
    watch.stop();
  });
  all_refused();
  pair.send();
  on.run();
  CHECK(note == "r");
  all_refused();
  turns(on.loop, 2);
  ::close(copy);
}

TEST_CASE_FIXTURE(with_loop, "a watched epoll set cannot come to watch the loop") {
  const int own = loop.descriptor();
  const foreign_set other;
  descriptor_watch watch(loop, other.number);
  watch.start(events::readable, [](const eddy::result<events>&) {});
  CHECK(other.add(own) == ELOOP);
  turns(loop, 2);
  CHECK(other.add(own) == ELOOP);
}

TEST_CASE_FIXTURE(with_loop, "an epoll set of the program's own can be watched") {
  const socket_pair pair;
  const foreign_set inner(pair.near());
  const foreign_set outer(inner.number);
  journal note;
  descriptor_watch watch(loop, outer.number);
  watch.start(events::readable, [&](const eddy::result<events>& r) { note(words(r)); });
  turns(loop, 1);
  pair.send();
  turns(loop, 2);
  CHECK(note == "r r");
}

TEST_CASE_FIXTURE(tidy, "a loop refuses each of its own descriptors, and is not busy with a copy") {
  std::optional<eddy::event_loop> loop;
  std::vector<int> own = opened_by([&] { loop.emplace(); });
  CHECK(own.size() == 3);  // an epoll set, an eventfd and a timerfd
  const socket_pair pair;
  descriptor_watch first(*loop, pair.near());
  const auto more = opened_by([&] {
    first.start(events::readable, [](const eddy::result<events>&) {});
    first.start(events::writable, [](const eddy::result<events>&) {});
    descriptor_watch second(*loop, pair.far());
    second.start(events::readable, [](const eddy::result<events>&) {});
  });
  CHECK(more.size() == 1);  // the epoll set of the watches
  own.insert(own.end(), more.begin(), more.end());
  first.stop();
  for (const int number : own) CHECK(refusal(*loop, number) == std::errc::invalid_argument);

  for (const int number : own) {
    const int copy = ::dup(number);
    int calls = 0;
    descriptor_watch watch(*loop, copy);
    watch.background(true);
    try {
      watch.start(events::readable, [&](const eddy::result<events>&) { ++calls; });
    } catch (const std::system_error&) {
      ::close(copy);
      continue;  // the epoll sets
    }
    loop->post([] {});
    eddy::timer timer(*loop);
    timer.start(2ms, [] {});
    loop->run();
    CHECK(calls <= 2);
    turns(*loop, 3);
    CHECK(calls <= 2);
    CHECK_FALSE(loop->run_ready());
    watch.stop();
    ::close(copy);
  }
}

TEST_CASE_FIXTURE(with_loop, "a watch goes on in a forked child, and disturbs nobody") {
  const socket_pair pair;
  int calls = 0;
  descriptor_watch watch(loop, pair.near());
  watch.start(events::readable, [&](const eddy::result<events>&) {
    ++calls;
    loop.stop();
  });
  turns(loop, 1);
  CHECK(holds_in_child([&] {
    pair.send();
    loop.run();
    if (calls != 1) return false;
    watch.stop();
    return !loop.run_ready();
  }));
  loop.run();  // the byte is still there
  CHECK(calls == 1);
  CHECK(holds_in_child([&] {
    watch.stop();  // before the child's first turn
    return !loop.run_ready();
  }));
  loop.run();
  CHECK(calls == 2);
}

TEST_CASE("misuse of a descriptor_watch aborts") {
  const tidy leaves_nothing;
  dies_saying("descriptor_watch::start was given a handler that is null", [] {
    eddy::event_loop loop;
    descriptor_watch(loop, 0).start(events::readable, nullptr);
  });
  dies_saying("started for no condition", [] {
    eddy::event_loop loop;
    descriptor_watch(loop, 0).start(events::none, [](const eddy::result<events>&) {});
  });
  dies_saying("1 descriptors, signals, files or children watched", [] {
    const socket_pair pair;
    std::optional<eddy::event_loop> loop(std::in_place);
    descriptor_watch watch(*loop, pair.near());
    watch.start(events::readable, [](const eddy::result<events>&) {});
    loop.reset();
  });
}
