// SPDX-License-Identifier: BSD-2-Clause
// Every system call of Unix sockets, with each of its errors.
#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/fault_scenario.h"
#include "support/faults.h"
#include "support/temporary_directory.h"

using eddy::join;
using eddy::task;
using eddy::timeout;

namespace {

/// Echoes bytes and descriptors at a path at which a stale file may lie.
struct echoes_descriptors : scenario {
  explicit echoes_descriptors(faulty_run& r)
      : scenario(r),
        path(folder / "socket"),
        stale(r.option(2) != 0),
        mode(r.option(2) != 0 ? std::optional<unsigned>(0600) : std::nullopt),
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
  static constexpr std::size_t shapes = 8;

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
  static constexpr std::size_t shapes = 8;
};

/// Sends Unix datagrams to a path at which a stale file lies, and to a connected peer.
struct sends_unix_datagrams : numbered {
  explicit sends_unix_datagrams(faulty_run& r)
      : numbered(r), connects(r.option(2) != 0), at(folder / "socket") {
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
  static constexpr std::size_t shapes = 10;

  temporary_directory folder;
  bool connects;
  eddy::unix_address at;
  std::optional<eddy::unix_datagram> server;
};

}  // namespace

FAULTS_TEST(echoes_descriptors, "an echo of descriptors at a path survives every fault")
FAULTS_TEST(sends_packets, "packets with descriptors survive every fault")
FAULTS_TEST(sends_unix_datagrams, "Unix datagrams survive every fault")

FAULTS_TOTAL(3, 18'000, "the scenarios of Unix sockets survive 18,000 faults")
