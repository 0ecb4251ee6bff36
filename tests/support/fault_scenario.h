// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/buffer.h>
#include <eddy/net/pending_operation.h>

#include "support/failing_system.h"
#include "support/faults.h"

// Parts that the scenarios of several files share.

/// The base of a scenario on the kernel.
struct scenario {
  explicit scenario(faulty_run& r) : run(r) {}
  scenario(const scenario&) = delete;
  scenario& operator=(const scenario&) = delete;
  void check() {}

  using system = failing_system;
  static constexpr std::size_t patience = 100;
  faulty_run& run;
};

/// Port 0 of a loopback address that no listener has used before. The connections of earlier runs
/// keep their ports for a minute (TIME_WAIT). With ten thousands of them, the kernel would look
/// long for a port of 127.0.0.1 that is free.
inline eddy::address unused_loopback() {
  static std::uint32_t count = 0;
  const std::uint32_t n = ++count;
  const auto byte = [n](int shift) { return static_cast<unsigned char>(1 + (n >> shift) % 128); };
  return eddy::address(eddy::address::v4_bytes{127, byte(14), byte(7), byte(0)}, 0);
}

// Parts of servers and clients, for all kinds of streams.

/// Ends the sending side of a stream, whose `shutdown` may be awaited.
template <class Stream>
eddy::task<> end_sending(Stream& of) {
  if constexpr (std::is_void_v<decltype(of.shutdown())>) {
    of.shutdown();
    co_return;
  } else {
    co_await of.shutdown();
  }
}

/// Sends the bytes in pieces, some of them gathered, and then the end.
template <class Stream>
eddy::task<> say(Stream& to, std::string_view all, std::size_t piece) {
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
  co_await end_sending(to);
}

/// Adds what comes to `all`, until the end.
template <class Stream>
eddy::task<> hear(Stream& from, std::string& all, std::size_t size) {
  std::vector<char> buffer(size);
  for (;;) {
    const std::size_t n = co_await from.read(std::span(buffer));
    if (n == 0) break;
    all.append(buffer.data(), n);
  }
}

/// Sends back what comes, until the end.
template <class Stream>
eddy::task<> send_back(Stream& stream, std::size_t size) {
  std::vector<char> buffer(size);
  for (;;) {
    const std::size_t n = co_await stream.read(std::span(buffer));
    if (n == 0) break;
    co_await stream.write(std::span<const char>(buffer.data(), n));
  }
  co_await end_sending(stream);
}

/// One end of a connection with handlers, which sends its words and hears those of the other end.
template <class Stream>
class handler_talker {
public:
  handler_talker(faulty_run& r, std::string_view says, std::string& heard, std::size_t size)
      : run_(r), says_(says), heard_(heard), bytes_(size) {}

  /// `begin` starts the connect or the handshake, and is given its handler.
  template <class Begin>
  eddy::future<> talk(Begin begin) {
    beginning_ = begin([this](eddy::result<Stream> made) {
      if (!made) return end(made.error());
      stream_ = std::move(*made);
      stream_.write(says_, [this](eddy::result<void> sent) {
        if (!sent) return end(sent.error());
        end_sending();
      });
      read();
    });
    return ended_.get_future();
  }

private:
  void read() {
    stream_.read(std::span(bytes_), [this](eddy::result<std::size_t> n) {
      if (!n) return end(n.error());
      if (*n == 0) return end_one({});
      heard_.append(bytes_.data(), *n);
      read();
    });
  }
  void end_sending() {
    const auto note = [this](eddy::result<void> ended) { end_one(ended); };
    if constexpr (requires { stream_.shutdown(note); }) {
      stream_.shutdown(note);
    } else {
      stream_.shutdown();
      note({});
    }
  }
  /// One of both directions has ended.
  void end_one(eddy::result<void> how) {
    if (!how) return end(how.error());
    if (++ended_directions_ == 2) end({});
  }
  void end(std::error_code error) {
    if (error) run_.tell(error);
    if (std::exchange(over_, true)) return;
    if (stream_.open()) stream_.close();
    ended_.set_value();
  }

  faulty_run& run_;
  std::string_view says_;
  std::string& heard_;
  std::vector<char> bytes_;
  int ended_directions_ = 0;
  bool over_ = false;
  eddy::promise<> ended_;
  Stream stream_;
  eddy::pending_operation beginning_;
};

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
  std::function<eddy::task<>(Stream&)> serve;
  std::optional<Listener> listener;

private:
  eddy::task<> accept() {
    for (int failed = 0; failed < 3;) {
      auto accepting = listener->accept();
      auto r = co_await eddy::as_result(std::move(accepting));
      if (r) {
        all_.spawn(talk(std::move(*r)));
      } else {
        run_.tell(r.error());
        ++failed;
      }
    }
    accepting_ = false;
  }
  eddy::task<> talk(Stream stream) {
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

constexpr std::chrono::seconds client_patience(2);
/// The size of a socket's buffer that few bytes fill.
constexpr std::size_t small_buffer = 4096;

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
