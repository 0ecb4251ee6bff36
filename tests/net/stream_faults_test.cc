// SPDX-License-Identifier: BSD-2-Clause
// Every system call of streams around streams and of copies, with each of its errors.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/copy.h>
#include <eddy/net/limited.h>
#include <eddy/net/send_file.h>
#include <eddy/net/shared_bytes.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_stream.h>
#include <eddy/net/write_queue.h>

#include "support/fault_scenario.h"
#include "support/faults.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::join;
using eddy::task;
using eddy::timeout;

namespace {

/// A client whose bytes are relayed to a server, which sends them back.
struct relays : scenario {
  explicit relays(faulty_run& r)
      : scenario(r), tcp(r.option(2) != 0), question(r.bytes(r.any(2, 30'000))) {
    piece = r.any(1 + question.size() / 4, question.size());
  }
  task<> work() {
    answer.clear();
    if (tcp) {
      stream_pair one(run.loop, unused_loopback());
      stream_pair other(run.loop, unused_loopback());
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
  static constexpr std::size_t shapes = 8;
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
  static constexpr std::size_t shapes = 8;
  std::string all;
  std::string heard;
};

}  // namespace

FAULTS_TEST(relays, "a relay by splice survives every fault")
FAULTS_TEST(copies_to_two, "a copy to limited streams survives every fault")
FAULTS_TEST(sends_a_file, "a sent file survives every fault")
FAULTS_TEST(reads_units, "lines and frames survive every fault")
FAULTS_TEST(queues_writes, "a queue of writes survives every fault")

FAULTS_TOTAL(5, 23'000, "the scenarios of streams around streams survive 23,000 faults")
