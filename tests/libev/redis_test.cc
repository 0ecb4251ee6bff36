// SPDX-License-Identifier: BSD-2-Clause
// C libraries with a libev adapter are at home on `event_loop::native`: hiredis,
// whose adapter knows nothing of eddy, speaks with a redis-server.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <hiredis/adapters/libev.h>
#include <hiredis/async.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_stream.h>

#include "support/any_loop.h"
#include "support/every_point.h"
#include "support/journal.h"
#include "support/redis_server.h"
#include "support/run_listener.h"
#include "support/stream_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

/// Meson takes 77 for "skipped".
struct needs_a_server : run_listener {
  using run_listener::run_listener;

  void test_run_start() override {
    std::signal(SIGPIPE, SIG_IGN);  // hiredis 0.14 writes to connections that are gone
    if (!redis_server::program().empty()) return;
    std::cout << "skipped: there is no redis-server" << std::endl;
    std::_Exit(77);
  }
};

REGISTER_LISTENER("needs_a_server", 1, needs_a_server);

redis_server& server() {
  static redis_server the_server;
  return the_server;
}

// ---- hiredis in C++

int contexts = 0;  // that hiredis has not freed

enum class way : std::uint8_t { unix_socket, tcp };

/// A context of hiredis with its libev adapter.
class client {
public:
  using on_reply = std::function<void(const redisReply*)>;  // null: there will be none
  using on_status = std::function<void(int)>;

  /// A command that waits for its reply.
  struct command {
    on_reply then;
  };

  explicit client(eddy::event_loop& loop, way to = way::unix_socket)
      : client(loop, to == way::tcp ? redisAsyncConnect("127.0.0.1", server().port())
                                    : redisAsyncConnectUnix(server().socket().c_str())) {}

  /// Errors: `std::runtime_error` if hiredis could not even begin to connect.
  client(eddy::event_loop& loop, redisAsyncContext* fresh) : context_(fresh) {
    if (context_->err != 0) {
      const std::string what = context_->errstr;
      redisAsyncFree(context_);
      throw std::runtime_error(what);
    }
    ++contexts;
    context_->data = this;
    redisLibevAttach(loop.native(), context_);
    context_->ev.cleanup = [](void* adapter) {
      --contexts;
      redisLibevCleanup(adapter);
    };
    redisAsyncSetConnectCallback(context_, [](const redisAsyncContext* c, int status) {
      auto* const self = static_cast<client*>(c->data);
      if (self == nullptr) return;
      if (status != REDIS_OK) self->context_ = nullptr;
      if (self->on_connect) self->on_connect(status);
    });
    redisAsyncSetDisconnectCallback(context_, [](const redisAsyncContext* c, int status) {
      auto* const self = static_cast<client*>(c->data);
      if (self == nullptr) return;
      self->context_ = nullptr;
      if (self->on_disconnect) self->on_disconnect(status);
    });
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { free(); }

  on_status on_connect;
  on_status on_disconnect;
  on_reply on_message;  // of what is subscribed

  [[nodiscard]] bool connected() const noexcept { return context_ != nullptr; }
  [[nodiscard]] redisAsyncContext* context() const noexcept { return context_; }

  /// Sends a command. Null if hiredis takes no more.
  template <class... Arguments>
  command* send(on_reply then, const char* format, Arguments... arguments) {
    if (context_ == nullptr) return nullptr;
    auto fresh = std::make_unique<command>(std::move(then));
    const auto replied = [](redisAsyncContext*, void* reply, void* data) {
      const std::unique_ptr<command> c(static_cast<command*>(data));
      if (c->then) c->then(static_cast<const redisReply*>(reply));
    };
    if (redisAsyncCommand(context_, replied, fresh.get(), format, arguments...) != REDIS_OK)
      return nullptr;
    return fresh.release();
  }

  void subscribe(const char* channel) {
    const auto heard = [](redisAsyncContext*, void* reply, void* data) {
      static_cast<client*>(data)->on_message(static_cast<const redisReply*>(reply));
    };
    redisAsyncCommand(context_, heard, this, "SUBSCRIBE %s", channel);
  }
  void unsubscribe(const char* channel) {
    redisAsyncCommand(context_, nullptr, nullptr, "UNSUBSCRIBE %s", channel);
  }

  /// Ends the connection when all replies are there.
  void disconnect() {
    if (context_ != nullptr) redisAsyncDisconnect(context_);
  }
  /// Ends the connection at once, without `on_disconnect`.
  void free() {
    if (context_ == nullptr) return;
    context_->data = nullptr;
    redisAsyncFree(std::exchange(context_, nullptr));
  }

private:
  redisAsyncContext* context_;
};

bool is_text(const redisReply* r, std::string_view text) {
  return r != nullptr && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) &&
         std::string_view(r->str, static_cast<std::size_t>(r->len)) == text;
}

bool is_number(const redisReply* r, long long number) {
  return r != nullptr && r->type == REDIS_REPLY_INTEGER && r->integer == number;
}

/// Sends a command and waits for the reply, as text.
///
/// Cancelling: a command can't be taken back. hiredis keeps it, and its reply
/// goes to nobody.
template <class... Arguments>
eddy::task<std::string> ask(client& c, const char* format, Arguments... arguments) {
  const auto start = [&](eddy::completer<std::string> done) {
    client::command* const sent = c.send(
        [done](const redisReply* r) {
          if (r == nullptr) {
            done.fail(std::make_error_code(std::errc::connection_reset), "waiting for redis");
          } else if (r->type == REDIS_REPLY_ERROR) {
            done.fail(std::make_exception_ptr(std::runtime_error(r->str)));
          } else if (r->type == REDIS_REPLY_INTEGER) {
            done(std::to_string(r->integer));
          } else {
            done(r->str == nullptr ? "" : r->str);
          }
        },
        format, arguments...);
    if (sent == nullptr)
      done.fail(std::make_error_code(std::errc::not_connected), "sending to redis");
    return [sent] {
      if (sent != nullptr) sent->then = nullptr;
    };
  };
  std::string reply = co_await eddy::adapt<std::string>(start);
  co_return reply;
}

// ---- The settings

/// A loop of eddy's own in a program that polls.
struct polled_loop : with_loop {
  void run() {
    const auto busy = [this] {
      const auto on = loop.count();
      return contexts != 0 || on.ready != 0 || on.timers != 0 || on.waiting != 0 || loop.next_run();
    };
    while (busy()) {
      struct pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
      const auto left = loop.next_run();
      const auto limit = std::chrono::ceil<std::chrono::milliseconds>(left.value_or(0ms));
      ::poll(&p, 1, left ? static_cast<int>(limit.count()) : -1);
      loop.run_ready();
    }
  }
};

#define SETTINGS own_loop, adopted_loop, program_run_loop, polled_loop

/// A fixture: hiredis on a loop, where it leaves nothing. `run` returns when
/// nothing is left.
template <class Loop>
struct redis_on : Loop {
  redis_on() {
    ::alarm(60);
    if (!server().runs()) server().start();
  }
  ~redis_on() {
    CHECK(contexts == 0);
    this->run();  // returns at once
    CHECK_FALSE(this->loop.next_run());
    struct pollfd p{.fd = this->loop.descriptor(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&p, 1, 0) == 0);
    ::alarm(0);
  }

  void run_task(eddy::task<> work) {
    if constexpr (std::is_same_v<Loop, own_loop>) {
      eddy::block_on(this->loop, std::move(work));
      this->run();
    } else {
      auto result = eddy::spawn(this->loop, std::move(work));
      this->run();
      REQUIRE(result.ready());
      eddy::block_on(this->loop, std::move(result));
    }
  }

  /// How often libev has looked at its descriptors.
  [[nodiscard]] unsigned looks() { return ev_iteration(this->loop.native()); }
};

}  // namespace

// ---- Commands

TEST_CASE_TEMPLATE("thousands of pipelined commands are answered in order", Loop, SETTINGS) {
  redis_on<Loop> on;
  client c(on.loop, way::tcp);
  constexpr int third = 2000;
  int answered = 0;
  int wrong = 0;
  const client::on_reply check = [&](const redisReply* r) {
    if (!is_number(r, ++answered)) ++wrong;
    if (answered == 3 * third) c.disconnect();
  };
  const auto send_a_third = [&] {
    for (int i = 0; i < third; ++i) c.send(check, "INCR counter");
  };
  c.send({}, "DEL counter");
  send_a_third();                                              // outside the loop
  on.loop.defer(send_a_third);                                 // from a handler
  c.send([&](const redisReply*) { send_a_third(); }, "PING");  // from a callback of hiredis
  on.run();
  CHECK(answered == 3 * third);
  CHECK(wrong == 0);
  CHECK(on.looks() < 3 * third);
}

TEST_CASE_TEMPLATE("handlers and hiredis callbacks send commands in turn", Loop, SETTINGS) {
  redis_on<Loop> on;
  struct rally {
    eddy::event_loop& loop;
    client c;
    int count = 0;
    int wrong = 0;

    void send() {
      c.send(
          [this](const redisReply* r) {
            if (!is_text(r, std::to_string(count))) ++wrong;
            if (++count == 2000) {
              c.disconnect();
            } else if (count % 2 == 0) {
              send();
            } else {
              loop.defer([this] { send(); });
            }
          },
          "ECHO %d", count);
    }
  } r{on.loop, client(on.loop)};
  r.send();
  on.run();
  CHECK(r.count == 2000);
  CHECK(r.wrong == 0);
  CHECK(on.looks() < 2000 * 6);
}

TEST_CASE_TEMPLATE("what one context publishes another one hears", Loop, SETTINGS) {
  redis_on<Loop> on;
  client publisher(on.loop);
  client subscriber(on.loop, way::tcp);
  constexpr int messages = 3000;
  int heard = 0;
  int wrong = 0;
  journal note;
  subscriber.on_message = [&](const redisReply* r) {
    if (r == nullptr) return;
    const std::string kind = r->element[0]->str;
    if (kind == "message") {
      if (!is_text(r->element[2], std::to_string(heard))) ++wrong;
      if (++heard == messages) subscriber.unsubscribe("songs");
      return;
    }
    note(kind);
    if (kind == "subscribe") {
      for (int i = 0; i < messages / 2; ++i) publisher.send({}, "PUBLISH songs %d", i);
      on.loop.defer([&] {
        for (int i = messages / 2; i < messages; ++i) publisher.send({}, "PUBLISH songs %d", i);
      });
    } else {
      subscriber.disconnect();
      publisher.disconnect();
    }
  };
  subscriber.subscribe("songs");
  on.run();
  CHECK(note == "subscribe unsubscribe");
  CHECK(heard == messages);
  CHECK(wrong == 0);
  CHECK(on.looks() < messages * 6);
}

TEST_CASE_TEMPLATE("contexts that are silent cost no turns", Loop, SETTINGS) {
  redis_on<Loop> on;
  std::array<std::unique_ptr<client>, 4> all;
  int subscribed = 0;
  unsigned before = 0;
  unsigned after = 0;
  eddy::timer timer(on.loop);
  for (auto& c : all) {
    c = std::make_unique<client>(on.loop);
    c->on_message = [&](const redisReply*) {
      if (++subscribed != static_cast<int>(all.size())) return;
      before = on.looks();
      timer.start(50ms, [&] {
        after = on.looks();
        for (auto& one : all) one.reset();
      });
    };
    c->subscribe("silence");
  }
  on.run();
  CHECK(after != 0);
  CHECK(after - before < 10);
}

// ---- Connections that end

TEST_CASE_TEMPLATE("a context that the server kills is made anew by a timer", Loop, SETTINGS) {
  redis_on<Loop> on;
  struct phoenix {
    eddy::event_loop& loop;
    client admin;
    eddy::timer again;
    std::optional<client> c;
    int lives = 0;
    int unanswered = 0;
    int wrong = 0;

    void live() {
      c.emplace(loop, lives % 2 == 0 ? way::unix_socket : way::tcp);
      c->on_connect = [this](int status) {
        if (status != REDIS_OK) ++wrong;
      };
      c->on_disconnect = [this](int status) {
        if (status != REDIS_ERR) ++wrong;
        if (++lives == 20) return admin.disconnect();
        again.start(1ms, [this] { live(); });
      };
      c->send(
          [this](const redisReply* r) {
            if (!is_text(r, "PONG")) ++wrong;
            admin.send({}, "CLIENT KILL TYPE normal SKIPME yes");
          },
          "PING");
      c->send([this](const redisReply* r) { r == nullptr ? ++unanswered : ++wrong; },
              "BLPOP nothing 0");
    }
  } p{on.loop, client(on.loop), eddy::timer(on.loop), std::nullopt};
  p.live();
  on.run();
  CHECK(p.lives == 20);
  CHECK(p.unanswered == 20);
  CHECK(p.wrong == 0);
}

TEST_CASE_TEMPLATE("a context finds a server that was started again", Loop, SETTINGS) {
  redis_on<Loop> on;
  struct patient {
    eddy::event_loop& loop;
    way to;
    eddy::timer again;
    std::optional<client> c;
    int failures = 0;
    journal note{};

    void attempt() {
      try {
        c.emplace(loop, to);
      } catch (const std::runtime_error&) {
        return fail();
      }
      c->on_connect = [this](int status) {
        if (status != REDIS_OK) fail();
      };
      c->on_disconnect = [this](int status) {
        note(status == REDIS_OK ? "disconnected" : "lost");
        if (status != REDIS_OK) attempt_later();
      };
      c->send(
          [this](const redisReply* r) {
            if (!is_text(r, "PONG")) return;
            note("pong");
            if (failures != 0) return c->disconnect();
            loop.defer([] { server().stop(); });
          },
          "PING");
    }
    void fail() {
      if (++failures == 3) server().start();
      attempt_later();
    }
    void attempt_later() {
      again.start(1ms, [this] { attempt(); });
    }
  };
  for (const way to : {way::unix_socket, way::tcp}) {
    patient p{on.loop, to, eddy::timer(on.loop), std::nullopt};
    p.attempt();
    on.run();
    CHECK(p.note == "pong lost pong disconnected");
    CHECK(p.failures == 3);
  }
}

TEST_CASE_TEMPLATE("a refused connection is told by the loop", Loop, SETTINGS) {
  redis_on<Loop> on;
  // Bound, and nobody listens.
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  REQUIRE(::bind(descriptor, reinterpret_cast<sockaddr*>(&name), size) == 0);
  REQUIRE(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size) == 0);
  {
    client c(on.loop, redisAsyncConnect("127.0.0.1", ntohs(name.sin_port)));
    journal note;
    c.on_connect = [&](int status) { note(status == REDIS_OK ? "connected" : "refused"); };
    c.send([&](const redisReply* r) { note(r == nullptr ? "unanswered" : "answered"); }, "PING");
    on.run();
    CHECK(note == "refused unanswered");
  }
  ::close(descriptor);
}

TEST_CASE_TEMPLATE("contexts come and go beside timers and a connection", Loop, SETTINGS) {
  redis_on<Loop> on;
  struct visits {
    eddy::event_loop& loop;
    std::optional<client> c;
    int count = 0;
    int wrong = 0;

    void begin() {
      c.emplace(loop, count % 2 == 0 ? way::unix_socket : way::tcp);
      c->on_disconnect = [this](int status) {
        if (status != REDIS_OK) ++wrong;
        next();
      };
      c->send(
          [this](const redisReply* r) {
            if (!is_text(r, "PONG")) ++wrong;
            if (count % 3 != 0) return c->disconnect();
            c->free();  // in its own callback
            next();
          },
          "PING");
    }
    void next() {
      if (++count < 60) loop.defer([this] { begin(); });
    }
  } v{on.loop, std::nullopt};
  v.begin();

  int ticks = 0;
  eddy::timer timer(on.loop);
  timer.start_every(1ms, [&] {
    if (++ticks >= 20 && v.count >= 60) timer.stop();
  });

  stream_pair tcp(on.loop);
  struct echo {
    eddy::tcp_stream& stream;
    std::array<char, 64> bytes{};
    std::size_t left;  // bytes that are still to come
    void read() {
      stream.read(std::span(bytes), [this](eddy::result<std::size_t> n) {
        if (!n || *n == 0) return;
        left -= std::min(left, *n);
        stream.write(std::span(bytes).first(*n), [this](eddy::result<void> sent) {
          if (sent && left != 0) read();
        });
      });
    }
  };
  echo far{.stream = tcp.far, .left = 20'000};
  echo near{.stream = tcp.near, .left = 19'000};
  far.read();
  near.read();
  send(tcp.near, std::string(1000, 'x'));

  on.run();
  CHECK(v.count == 60);
  CHECK(v.wrong == 0);
  CHECK(ticks >= 20);
  CHECK(near.left == 0);
  CHECK(far.left == 0);
}

TEST_CASE_TEMPLATE("a context may live before the first run, between two, and without one", Loop,
                   SETTINGS) {
  redis_on<Loop> on;
  {
    const client never_run(on.loop);
  }
  client c(on.loop);
  bool pong = false;
  c.send(
      [&](const redisReply* r) {
        pong = is_text(r, "PONG");
        on.loop.stop();
      },
      "PING");
  if constexpr (std::is_same_v<Loop, polled_loop>) {
    while (!pong) on.loop.run_ready();
  } else {
    on.run();
  }
  CHECK(pong);
  CHECK(c.connected());
  pong = false;
  c.send(
      [&](const redisReply* r) {
        pong = is_text(r, "PONG");
        c.disconnect();
      },
      "PING");
  on.run();
  CHECK(pong);
  client last(on.loop, way::tcp);
  last.send({}, "PING");
}

// ---- Awaiting

namespace {

eddy::task<> count_up(client& c, const char* key) {
  for (int i = 1; i <= 500; ++i) {
    const std::string reply = co_await ask(c, "INCR %s", key);
    CHECK(reply == std::to_string(i));
  }
}

eddy::task<> count_twice(eddy::event_loop& loop) {
  client a(loop);
  client b(loop, way::tcp);
  co_await ask(a, "DEL one two");
  co_await eddy::join(count_up(a, "one"), count_up(b, "two"), count_up(a, "three"));
  const std::string removed = co_await ask(a, "DEL one two three");
  CHECK(removed == "3");
  a.disconnect();
}

eddy::task<> wait_in_vain(eddy::event_loop& loop) {
  client c(loop);
  client other(loop);
  const auto began = std::chrono::steady_clock::now();
  bool late = false;
  try {
    co_await eddy::timeout(5ms, ask(c, "BLPOP list 0"));
  } catch (const std::system_error& e) {
    late = e.code() == std::errc::timed_out;
  }
  CHECK(late);
  CHECK(std::chrono::steady_clock::now() - began >= 5ms);
  // The answer that nobody waits for goes before the next.
  const std::string length = co_await ask(other, "LPUSH list x");
  CHECK(length == "1");
  const std::string pong = co_await ask(c, "PING");
  CHECK(pong == "PONG");
}

eddy::task<> lose_the_server(eddy::event_loop& loop) {
  client c(loop);
  client admin(loop);
  bool lost = false;
  bool refused = false;
  bool wrong = false;
  const std::string pong = co_await ask(c, "PING");
  CHECK(pong == "PONG");
  eddy::future<std::string> waits = eddy::spawn(loop, ask(c, "BLPOP list 0"));
  co_await ask(admin, "CLIENT KILL TYPE normal SKIPME yes");
  try {
    co_await std::move(waits);
  } catch (const std::system_error& e) {
    lost = e.code() == std::errc::connection_reset;
  }
  try {
    co_await ask(c, "PING");
  } catch (const std::system_error& e) {
    refused = e.code() == std::errc::not_connected;
  }
  try {
    co_await ask(admin, "NONSENSE");
  } catch (const std::runtime_error&) {
    wrong = true;
  }
  CHECK(lost);
  CHECK(refused);
  CHECK(wrong);
}

}  // namespace

TEST_CASE_TEMPLATE("coroutines await replies", Loop, SETTINGS) {
  redis_on<Loop> on;
  on.run_task(count_twice(on.loop));
}

TEST_CASE_TEMPLATE("a coroutine that no longer waits for a reply disturbs no other", Loop,
                   SETTINGS) {
  redis_on<Loop> on;
  on.run_task(wait_in_vain(on.loop));
}

TEST_CASE_TEMPLATE("a lost connection ends the wait for a reply", Loop, SETTINGS) {
  redis_on<Loop> on;
  on.run_task(lose_the_server(on.loop));
}

namespace {

eddy::task<> ask_and_hold(eddy::trial& t, client& c) {
  const eddy::trial::part held(t);
  const std::string reply = co_await ask(c, "ECHO %d", 7);
  CHECK(reply == "7");
}

}  // namespace

SCENARIO_TEST("awaited replies may be cancelled at every point") {
  client a(t.loop());
  client b(t.loop(), way::tcp);
  co_await eddy::join(ask_and_hold(t, a), ask_and_hold(t, b), ask_and_hold(t, a));
  co_await ask_and_hold(t, b);
}

#if HIREDIS_MAJOR >= 1
// ---- Timeouts, which the adapter of hiredis 0.14 does not have

TEST_CASE_TEMPLATE("hiredis ends a command that takes too long", Loop, SETTINGS) {
  redis_on<Loop> on;
  client c(on.loop);
  REQUIRE(redisAsyncSetTimeout(c.context(), {.tv_sec = 0, .tv_usec = 20'000}) == REDIS_OK);
  journal note;
  std::chrono::steady_clock::time_point began;
  c.on_connect = [&](int) { began = std::chrono::steady_clock::now(); };
  c.on_disconnect = [&](int status) {
    note(status == REDIS_ERR ? "disconnected" : "wrong");
    CHECK(std::chrono::steady_clock::now() - began >= 19ms);  // of libev's clock
  };
  c.send([&](const redisReply* r) { note(r == nullptr ? "unanswered" : "answered"); },
         "BLPOP nothing 0");
  on.run();
  CHECK(note == "unanswered disconnected");
  CHECK(on.looks() < 30);
}

TEST_CASE_TEMPLATE("a timeout that hiredis moves on is not early", Loop, SETTINGS) {
  redis_on<Loop> on;
  client c(on.loop);
  REQUIRE(redisAsyncSetTimeout(c.context(), {.tv_sec = 5, .tv_usec = 0}) == REDIS_OK);
  int replies = 0;
  eddy::timer timer(on.loop);
  timer.start_every(1ms, [&] {
    c.send(
        [&](const redisReply* r) {
          if (is_text(r, "PONG") && ++replies == 50) {
            timer.stop();
            c.disconnect();
          }
        },
        "PING");
  });
  on.run();
  CHECK(replies >= 50);
}
#endif
