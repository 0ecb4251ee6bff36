// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/file_stream.h>.
#include <eddy/net/file_stream.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/copy.h>
#include <eddy/net/duplex.h>
#include <eddy/net/send_file.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"

using eddy::as_result;
using eddy::file_mode;
using eddy::file_stream;
using eddy::join;
using eddy::open_file;
using eddy::task;

static_assert(eddy::byte_stream<file_stream>);
static_assert(std::is_nothrow_move_constructible_v<file_stream>);
static_assert(std::is_nothrow_move_assignable_v<file_stream>);
static_assert(!std::is_copy_constructible_v<file_stream>);

namespace {

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void store(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Text in which each part is different.
std::string numbers(std::size_t size) {
  std::string all;
  for (std::size_t i = 0; all.size() < size; ++i) all += std::to_string(i) + ' ';
  all.resize(size);
  return all;
}

task<> write_all(file_stream& to, std::string bytes) { co_await to.write(bytes); }

/// A disk whose calls by workers wait until the test lets them go on, and which has nothing in
/// memory. It counts the open files: its destructor waits until the workers have closed theirs.
class slow_disk : public eddy::detail::system {
public:
  ~slow_disk() override { wait_for_closes(); }

  /// Waits until all files are closed. The destructor of a derived class has to call this, because
  /// a worker may not call a virtual function of an object whose type changes.
  void wait_for_closes() const {
    while (files_ != 0) std::this_thread::yield();
  }
  /// Waits until a worker is inside a call.
  void wait_for_call() { begun_.acquire(); }
  /// Lets a call of a worker go on.
  void let_go() { may_go_on_.release(); }
  /// Lets all calls go on from now on, without waiting.
  void hurry() {
    held_ = false;
    may_go_on_.release();
  }
  [[nodiscard]] int calls() const { return calls_; }

  int open(const char* path, int flags, mode_t mode) override {
    const int number = system::open(path, flags, mode);
    if (number >= 0) ++files_;
    return number;
  }
  int duplicate(int descriptor) override {
    const int number = system::duplicate(descriptor);
    if (number >= 0) ++files_;
    return number;
  }
  int close(int descriptor) override {
    const int done = system::close(descriptor);
    --files_;
    return done;
  }
  ssize_t read_at_now(int, void*, std::size_t, off_t) override {
    errno = EAGAIN;
    return -1;
  }
  ssize_t write_at_now(int, const iovec*, int, off_t) override {
    errno = EAGAIN;
    return -1;
  }
  ssize_t read_at(int descriptor, void* data, std::size_t size, off_t offset) override {
    wait();
    return system::read_at(descriptor, data, size, offset);
  }
  ssize_t write_at(int descriptor, const void* data, std::size_t size, off_t offset) override {
    wait();
    return system::write_at(descriptor, data, size, offset);
  }

private:
  void wait() {
    ++calls_;
    if (!held_) return;
    begun_.release();
    may_go_on_.acquire();
  }

  std::atomic<int> files_ = 0;
  std::atomic<int> calls_ = 0;
  std::atomic<bool> held_ = true;
  std::counting_semaphore<> begun_{0};
  std::counting_semaphore<> may_go_on_{0};
  eddy::detail::scoped_system in_place_{*this};
};

/// Copies words from a file to another one. The disk is slow or quick, as `Slow` says.
template <bool Slow>
struct copies_a_file {
  explicit copies_a_file(eddy::trial& t) : of(t) {
    store(place / "words", "words");
    if (Slow) disk.emplace().hurry();
  }
  task<> work() {
    const eddy::trial::part held(of);
    file_stream from = co_await open_file(place / "words");
    file_stream to = co_await open_file(place / "copy", file_mode::create_new);
    const std::uint64_t size = co_await from.size();
    CHECK(size == 5);
    const std::string all = co_await read_all(from);
    co_await to.write(all);
    co_await to.sync();
    co_await to.shutdown();
  }
  std::string check(bool succeeded) {
    if (!succeeded || content(place / "copy") == "words") return "";
    return "the copy is not whole";
  }
  eddy::trial& of;
  temporary_directory place;
  std::optional<slow_disk> disk;
};

}  // namespace

TEST_SUITE("threads") {
  // Opening.

  ASYNC_TEST("a file is read to its end, and then a read gives 0") {
    const temporary_directory place;
    const std::string much = numbers(1'000'000);
    store(place / "much", much);
    file_stream file = co_await open_file(place / "much");
    CHECK(file.open());
    CHECK(&file.loop() == &loop);
    CHECK(file.read_position() == 0);
    const std::string all = co_await read_all(file);
    CHECK(all == much);
    CHECK(file.read_position() == much.size());
    CHECK(file.write_position() == 0);
    const std::string more = co_await read_some(file);
    CHECK(more.empty());

    // A later read finds bytes that were appended later.
    std::ofstream(place / "much", std::ios::app) << "later";
    const std::string later = co_await read_some(file);
    CHECK(later == "later");
  }

  ASYNC_TEST("a read gives at most 256 KiB, from memory and from the disk") {
    const temporary_directory place;
    store(place / "much", numbers(600'000));
    file_stream file = co_await open_file(place / "much");
    std::vector<char> buffer(600'000);
    failing_system system;
    SUBCASE("from memory") {}
    SUBCASE("from the disk") { system.fail(call::read_at_now, EAGAIN, 1, true); }
    const std::size_t size = co_await file.read(buffer);
    CHECK(size <= std::size_t{256} * 1024);
    CHECK(size > 0);
  }

  ASYNC_TEST("each mode makes, empties or keeps a file as it says") {
    const temporary_directory place;
    store(place / "old", "old words");

    file_stream emptied = co_await open_file(place / "old", file_mode::truncate);
    CHECK(content(place / "old").empty());
    co_await emptied.write(std::string_view("new"));
    CHECK(content(place / "old") == "new");

    file_stream longer = co_await open_file(place / "old", file_mode::append);
    file_stream rival = co_await open_file(place / "old", file_mode::append);
    co_await longer.write(std::string_view("er"));
    co_await rival.write(std::string_view(" words"));
    co_await longer.write(std::string_view("."));
    CHECK(content(place / "old") == "newer words.");

    file_stream changed = co_await open_file(place / "old", file_mode::update);
    co_await changed.write(std::string_view("N"));
    const std::string read = co_await read_some(changed);
    CHECK(read == "Newer words.");

    file_stream kept = co_await open_file(place / "old", file_mode::update_or_create);
    const std::string still = co_await read_some(kept);
    CHECK(still == "Newer words.");
    for (const file_mode mode : {file_mode::truncate, file_mode::create_new, file_mode::append,
                                 file_mode::update_or_create}) {
      const file_stream made = co_await open_file(place / "new", mode, 0640);
      struct stat status{};
      REQUIRE(::stat((place / "new").c_str(), &status) == 0);
      CHECK((status.st_mode & 0777 & ~0640U) == 0);
      CHECK((status.st_mode & 0600) == 0600);
      CHECK((::fcntl(made.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
      ::unlink((place / "new").c_str());
    }
  }

  ASYNC_TEST("an error of open_file names the file") {
    const temporary_directory place;
    const auto words = [](std::string path, file_mode mode) -> task<std::string> {
      std::string found;
      try {
        const file_stream file = co_await open_file(path, mode);
      } catch (const std::system_error& e) {
        found = e.what();
      }
      co_return found;
    };
    const std::string missing = co_await words(place / "none", file_mode::read);
    CHECK(missing == "open the file " + place / "none: No such file or directory");
    const std::string directory = co_await words(place.path(), file_mode::read);
    CHECK(directory == "open the file " + place.path() + ": Is a directory");
    store(place / "old", "old");
    const std::string exists = co_await words(place / "old", file_mode::create_new);
    CHECK(exists == "open the file " + place / "old: File exists");
    const std::string device = co_await words("/dev/null", file_mode::update);
    CHECK(device == "open the file /dev/null: Invalid argument");
    const std::string cut = co_await words(std::string("/etc/passwd\0x", 13), file_mode::read);
    CHECK(cut == "open the file /etc/passwd\\x00x: Invalid argument");
    const std::string missing_too = co_await words(place / "none", file_mode::update);
    CHECK(missing_too == "open the file " + place / "none: No such file or directory");
  }

  ASYNC_TEST("a pipe and a socket in the file system are refused and do not keep a worker") {
    const temporary_directory place;
    REQUIRE(::mkfifo((place / "pipe").c_str(), 0600) == 0);
    REQUIRE(::mknod((place / "socket").c_str(), S_IFSOCK | 0600, 0) == 0);
    for (const char* name : {"pipe", "socket"}) {
      for (const auto mode : {file_mode::read, file_mode::append, file_mode::truncate,
                              file_mode::update, file_mode::update_or_create}) {
        const auto r = co_await as_result(open_file(place / name, mode));
        CHECK(r.error() == std::errc::invalid_argument);
      }
    }
  }

  ASYNC_TEST("a device without its driver is refused as other devices are") {
    failing_system system;
    system.fail(call::open, ENODEV);
    const auto r = co_await as_result(open_file("/dev/none"));
    CHECK(r.error() == std::errc::invalid_argument);
  }

  ASYNC_TEST("a failed call while a file is opened leaves no descriptor") {
    const temporary_directory place;
    store(place / "old", "old");
    failing_system system;
    system.fail(call::file_status, EIO);
    const auto file = co_await as_result(open_file(place / "old"));
    CHECK(file.error() == std::errc::io_error);
    CHECK(system.count(call::close) == 1);
  }

  TEST_CASE_FIXTURE(with_jumping_loop, "open_file with a handler gives the stream or an error") {
    const temporary_directory place;
    store(place / "old", "old");
    std::optional<file_stream> opened;
    std::error_code error;
    eddy::pending_operation good =
        open_file(loop, place / "old", file_mode::read, 0666,
                  [&](eddy::result<file_stream> r) { opened = std::move(*r); });
    eddy::pending_operation bad =
        open_file(loop, place / "none", file_mode::read, 0666,
                  [&](const eddy::result<file_stream>& r) { error = r.error(); });
    CHECK(!opened);
    loop.run();
    REQUIRE(opened);
    CHECK(&opened->loop() == &loop);
    CHECK(error == std::errc::no_such_file_or_directory);

    bool called = false;
    {
      eddy::pending_operation dropped =
          open_file(loop, place / "old", file_mode::read, 0666,
                    [&](const eddy::result<file_stream>&) { called = true; });
    }
    loop.run();
    CHECK(!called);
  }

  ASYNC_TEST("a descriptor is taken over, and its position is not used") {
    const temporary_directory place;
    store(place / "old", "old words");
    const int number = ::open((place / "old").c_str(), O_RDONLY | O_CLOEXEC);
    ::lseek(number, 4, SEEK_SET);
    file_stream file(loop, number);
    CHECK(file.descriptor() == number);
    const std::string all = co_await read_some(file);
    CHECK(all == "old words");
    CHECK(::lseek(number, 0, SEEK_CUR) == 4);

    const int device = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(refusal_of<file_stream>(loop, device) == "take over descriptor N: Invalid argument");
    const int name = ::open((place / "old").c_str(), O_PATH | O_CLOEXEC);
    CHECK(refusal_of<file_stream>(loop, name) == "take over descriptor N: Bad file descriptor");
    CHECK(refusal_of<file_stream>(loop, -1) == "take over descriptor N: Bad file descriptor");
  }

  // Reading and writing.

  ASYNC_TEST("a read of what is not in memory is made by a worker") {
    const temporary_directory place;
    const std::string much = numbers(700'000);
    store(place / "much", much);
    failing_system system;
    file_stream file = co_await open_file(place / "much");
    SUBCASE("the disk has to be asked") {
      system.fail(call::read_at_now, EAGAIN, 1, true);
      const std::string all = co_await read_all(file);
      CHECK(all == much);
      CHECK(system.count(call::read_at) > 0);
    }
    SUBCASE("the file system never reads without waiting, and is asked once") {
      system.fail(call::read_at_now, EOPNOTSUPP, 1, true);
      const std::string all = co_await read_all(file);
      CHECK(all == much);
      CHECK(system.count(call::read_at_now) == 1);
    }
    SUBCASE("a signal interrupts calls") {
      system.fail(call::read_at_now, EINTR, 1);
      const std::string all = co_await read_all(file);
      CHECK(all == much);
    }
    SUBCASE("a signal interrupts calls of the worker") {
      system.fail(call::read_at_now, EAGAIN, 1, true);
      system.fail(call::read_at, EINTR, 1);
      const std::string all = co_await read_all(file);
      CHECK(all == much);
    }
    file.close();
  }

  ASYNC_TEST("a call that gives 0 before the end of the file is no end") {
    // As Linux 5.9 and 5.10 do.
    struct early_end : eddy::detail::system {
      ssize_t read_at_now(int, void*, std::size_t, off_t) override { return 0; }
      eddy::detail::scoped_system in_place{*this};
    };
    const temporary_directory place;
    store(place / "words", "words");
    early_end system;
    file_stream file = co_await open_file(place / "words");
    const std::string all = co_await read_all(file);
    CHECK(all == "words");
    file.close();
  }

  ASYNC_TEST("an error of a read names the file and keeps the position") {
    const temporary_directory place;
    store(place / "words", "words");
    failing_system system;
    file_stream file = co_await open_file(place / "words");
    SUBCASE("of the loop's call") { system.fail(call::read_at_now, EIO); }
    SUBCASE("of the worker's call") {
      system.fail(call::read_at_now, EAGAIN);
      system.fail(call::read_at, EIO);
    }
    std::array<char, 8> buffer;
    std::string words;
    try {
      static_cast<void>(co_await file.read(buffer));
    } catch (const std::system_error& e) {
      words = e.what();
    }
    CHECK(words == "read from the file " + place / "words: Input/output error");
    CHECK(file.read_position() == 0);
    const std::string all = co_await read_all(file);
    CHECK(all == "words");
    file.close();
  }

  ASYNC_TEST("a file that is not open for reading or writing says so") {
    const temporary_directory place;
    file_stream writes = co_await open_file(place / "words", file_mode::create_new);
    const std::error_code unreadable = co_await read_error(writes);
    CHECK(unreadable == std::errc::bad_file_descriptor);
    file_stream reads = co_await open_file(place / "words");
    const auto unwritable = co_await as_result(reads.write(std::string_view("x")));
    CHECK(unwritable.error() == std::errc::bad_file_descriptor);
  }

  ASYNC_TEST("all bytes of one buffer and of many are written, by the loop or by workers") {
    const temporary_directory place;
    const std::string much = numbers(1'000'000);
    failing_system system;
    SUBCASE("as the file system likes") {}
    SUBCASE("short calls of the loop, which succeed on some file systems only") {
      system.limit_bytes(70'000);
    }
    SUBCASE("by workers") { system.fail(call::write_at_now, EAGAIN, 1, true); }
    SUBCASE("by workers in short calls") {
      system.fail(call::write_at_now, EOPNOTSUPP, 1, true);
      system.limit_bytes(70'000);
    }
    SUBCASE("signals interrupt") {
      system.fail(call::write_at_now, EINTR);
      system.fail(call::write_at, EINTR);
    }
    file_stream file = co_await open_file(place / "much", file_mode::truncate);
    co_await file.write(much);
    CHECK(file.write_position() == much.size());
    CHECK(content(place / "much") == much);

    std::vector<eddy::const_buffer> parts(200);
    for (std::size_t i = 0; i < 5000; ++i) {
      if (i % 7 != 0) parts.emplace_back(std::string_view(much).substr(i * 200, 200));
      if (i % 7 == 0) {
        parts.emplace_back(std::string_view(much).substr(i * 200, 150));
        parts.emplace_back();
        parts.emplace_back(std::string_view(much).substr(i * 200 + 150, 50));
      }
    }
    file.seek_write(0);
    co_await file.resize(0);
    const std::span<const eddy::const_buffer> list(parts);
    co_await file.write(list);
    CHECK(content(place / "much") == much);
    co_await file.write(std::string_view());
    CHECK(file.write_position() == much.size());
    file.close();
  }

  ASYNC_TEST("a file system that writes without waiting needs no worker") {
    // As XFS and Btrfs do; ext4 does not.
    struct quick : failing_system {
      ssize_t write_at_now(int descriptor, const iovec* parts, int count, off_t offset) override {
        iovec first = *std::find_if(parts, parts + count, [](iovec p) { return p.iov_len != 0; });
        first.iov_len = std::min(first.iov_len, std::size_t{1000});
        return ::pwrite(descriptor, first.iov_base, first.iov_len, offset);
      }
    };
    const temporary_directory place;
    const std::string much = numbers(10'000);
    quick system;
    file_stream file = co_await open_file(place / "much", file_mode::truncate);
    co_await file.write(much);
    const std::array<eddy::const_buffer, 3> list{"one", "", "two"};
    co_await file.write(std::span<const eddy::const_buffer>(list));
    CHECK(content(place / "much") == much + "onetwo");
    CHECK(system.count(call::write_at) == 0);
    file.close();
  }

  ASYNC_TEST("the position tells how much was written before an error") {
    struct full : failing_system {
      ssize_t write_at(int descriptor, const void* data, std::size_t size, off_t offset) override {
        if (offset >= 300'000) {
          errno = ENOSPC;
          return -1;
        }
        return failing_system::write_at(descriptor, data, std::min(size, std::size_t{100'000}),
                                        offset);
      }
    };
    const temporary_directory place;
    const std::string much = numbers(1'000'000);
    full system;
    system.fail(call::write_at_now, EOPNOTSUPP);
    file_stream file = co_await open_file(place / "much", file_mode::truncate);
    std::string words;
    try {
      co_await file.write(much);
    } catch (const std::system_error& e) {
      words = e.what();
    }
    CHECK(words == "write to the file " + place / "much: No space left on device");
    CHECK(file.write_position() >= 300'000);
    CHECK(content(place / "much") == much.substr(0, file.write_position()));

    system.fail(call::write_at, EIO);
    file.seek_write(0);
    const auto failed = co_await as_result(file.write(much));
    CHECK(failed.error() == std::errc::io_error);
    file.close();
  }

  ASYNC_TEST("an error of the loop's own write is given") {
    const temporary_directory place;
    failing_system system;
    file_stream file = co_await open_file(place / "none", file_mode::truncate);
    system.fail(call::write_at_now, ENOSPC);
    const auto failed = co_await as_result(file.write(std::string_view("x")));
    CHECK(failed.error() == std::errc::no_space_on_device);
    file.close();
  }

  TEST_CASE("a write beyond RLIMIT_FSIZE gives file_too_large if SIGXFSZ is ignored") {
    CHECK(holds_in_child([] {
      const temporary_directory place;
      std::signal(SIGXFSZ, SIG_IGN);
      const struct rlimit small{10'000, 10'000};
      ::setrlimit(RLIMIT_FSIZE, &small);
      eddy::event_loop loop;
      const auto work = [](std::string path) -> task<bool> {
        file_stream file = co_await open_file(path, file_mode::truncate);
        const std::string much(20'000, 'm');
        const auto r = co_await as_result(file.write(much));
        co_return !r && r.error() == std::errc::file_too_large && file.write_position() == 10'000;
      };
      return eddy::block_on(loop, work(place / "much"));
    }));
  }

  // Positions.

  ASYNC_TEST("reads and writes have a position each, which a seek moves") {
    const temporary_directory place;
    file_stream file = co_await open_file(place / "words", file_mode::update_or_create);
    co_await file.write(std::string_view("hello, world"));
    CHECK(file.write_position() == 12);
    CHECK(file.read_position() == 0);
    file.seek_read(7);
    const std::string world = co_await read_some(file);
    CHECK(world == "world");
    CHECK(file.read_position() == 12);
    file.seek_write(5);
    co_await file.write(std::string_view(";"));
    CHECK(file.write_position() == 6);
    CHECK(content(place / "words") == "hello; world");

    // Beyond the end.
    file.seek_read(100);
    const std::string nothing = co_await read_some(file);
    CHECK(nothing.empty());
    file.seek_write(14);
    co_await file.write(std::string_view("!"));
    CHECK(content(place / "words") == std::string("hello; world\0\0!", 15));
  }

  ASYNC_TEST("a read at a position that no file has gives 0, and a write is an error") {
    const temporary_directory place;
    file_stream file = co_await open_file(place / "words", file_mode::update_or_create);
    co_await file.write(std::string_view("words"));
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
    for (const std::uint64_t position : {most - 1, most, most + 1, std::uint64_t{} - 1}) {
      file.seek_read(position);
      file.seek_write(position);
      const std::string nothing = co_await read_some(file);
      CHECK(nothing.empty());
      CHECK(file.read_position() == position);
      const auto written = co_await as_result(file.write(std::string_view("xx")));
      CHECK(written.error() == std::errc::file_too_large);
    }
    const auto resized = co_await as_result(file.resize(most + 1));
    CHECK(resized.error() == std::errc::file_too_large);
    file_stream log = co_await open_file(place / "words", file_mode::append);
    log.seek_read(most + 1);
    const std::error_code read = co_await read_error(log);
    CHECK(read == std::errc::bad_file_descriptor);
  }

  // The other operations.

  ASYNC_TEST("size, resize and sync ask the file system") {
    const temporary_directory place;
    failing_system system;
    file_stream file = co_await open_file(place / "words", file_mode::update_or_create);
    co_await file.write(std::string_view("hello, world"));
    const std::uint64_t size = co_await file.size();
    CHECK(size == 12);
    co_await file.resize(5);
    CHECK(content(place / "words") == "hello");
    CHECK(file.write_position() == 12);
    co_await file.resize(7);
    CHECK(content(place / "words") == std::string("hello\0\0", 7));
    CHECK(system.count(call::sync) == 0);
    co_await file.sync();
    CHECK(system.count(call::sync) == 1);

    system.fail(call::file_status, EIO);
    const auto no_size = co_await as_result(file.size());
    CHECK(no_size.error() == std::errc::io_error);
    system.fail(call::resize, EINTR);
    co_await file.resize(2);
    system.fail(call::resize, EPERM);
    const auto same = co_await as_result(file.resize(1));
    CHECK(same.error() == std::errc::operation_not_permitted);
    CHECK(content(place / "words") == "he");
    system.fail(call::sync, EINTR);
    co_await file.sync();
    system.fail(call::sync, EIO);
    std::string words;
    try {
      co_await file.sync();
    } catch (const std::system_error& e) {
      words = e.what();
    }
    CHECK(words == "sync the file " + place / "words: Input/output error");
    file.close();
  }

  ASYNC_TEST("resize needs a mode that writes, and like sync it goes on after shutdown") {
    const temporary_directory place;
    store(place / "words", "words");
    file_stream reading = co_await open_file(place / "words");
    const auto refused = co_await as_result(reading.resize(1));
    CHECK(refused.error() == std::errc::invalid_argument);
    co_await reading.sync();
    file_stream writing = co_await open_file(place / "words", file_mode::update);
    co_await writing.shutdown();
    co_await writing.resize(2);
    co_await writing.sync();
    CHECK(content(place / "words") == "wo");
  }

  ASYNC_TEST("shutdown gives the errors of close, and reading goes on") {
    const temporary_directory place;
    failing_system system;
    file_stream file = co_await open_file(place / "words", file_mode::update_or_create);
    co_await file.write(std::string_view("words"));
    std::string words;
    SUBCASE("no error") { co_await file.shutdown(); }
    SUBCASE("an error of close") {
      system.fail(call::close, EDQUOT);
      try {
        co_await file.shutdown();
      } catch (const std::system_error& e) {
        words = e.what();
      }
      CHECK(words == "close the file " + place / "words: Disk quota exceeded");
    }
    SUBCASE("no descriptor is free") {
      system.fail(call::duplicate, EMFILE);
      const auto r = co_await as_result(file.shutdown());
      CHECK(r.error() == std::errc::too_many_files_open);
    }
    const auto after = co_await as_result(file.write(std::string_view("more")));
    CHECK(after.error() == std::errc::broken_pipe);
    const std::string all = co_await read_all(file);
    CHECK(all == "words");
    file.close();
  }

  TEST_CASE_FIXTURE(with_jumping_loop, "each operation calls a handler with its result") {
    const temporary_directory place;
    store(place / "words", "words");
    file_stream file(loop, ::open((place / "words").c_str(), O_RDWR | O_CLOEXEC));
    std::array<char, 64> buffer;
    std::string got;
    std::uint64_t size = 0;
    int done = 0;
    bool inside = true;
    file.read(buffer, [&](eddy::result<std::size_t> r) {
      CHECK(!inside);
      got.assign(buffer.data(), r.value());
      CHECK(file.read_position() == got.size());
      file.size([&](eddy::result<std::uint64_t> s) { size = s.value(); });
    });
    const std::string more = "more words";
    const std::array<eddy::const_buffer, 2> list{"!", "?"};
    file.write(more, [&](eddy::result<void> written) {
      CHECK(written);
      ++done;
      file.write(std::span<const eddy::const_buffer>(list), [&](eddy::result<void> also) {
        CHECK(also);
        ++done;
        file.sync([&](eddy::result<void> synced) {
          CHECK(synced);
          ++done;
          file.resize(11, [&](eddy::result<void> resized) {
            CHECK(resized);
            ++done;
            file.shutdown([&](eddy::result<void> ended) {
              CHECK(ended);
              ++done;
              file.write(more, [&](eddy::result<void> late) {
                CHECK(late.error() == std::errc::broken_pipe);
                ++done;
              });
            });
          });
        });
      });
    });
    inside = false;
    loop.run();
    CHECK(done == 6);
    CHECK((got == "words" || got == "more words"));
    CHECK(size >= 5);
    CHECK(content(place / "words") == "more words!");
  }

  // Cancelling.

  ASYNC_TEST("a slow disk does not block the loop") {
    const temporary_directory place;
    store(place / "words", "words");
    slow_disk disk;
    file_stream file = co_await open_file(place / "words");
    auto reading = eddy::spawn(loop, read_some(file));
    co_await eddy::yield();
    disk.wait_for_call();
    for (int i = 0; i < 100; ++i) co_await eddy::yield();  // the loop goes round
    CHECK(loop.dump().find("read from the file " + place / "words") != std::string::npos);
    disk.hurry();
    const std::string all = co_await std::move(reading);
    CHECK(all == "words");
    file.close();
  }

  ASYNC_TEST("a cancelled read loses no bytes and leaves the buffer alone") {
    const temporary_directory place;
    store(place / "words", "words");
    slow_disk disk;
    file_stream file = co_await open_file(place / "words");
    {
      std::string buffer(5, '-');
      auto reading = eddy::spawn(loop, read_some(file));
      co_await eddy::yield();
      disk.wait_for_call();
    }
    CHECK(file.read_position() == 0);
    std::array<char, 8> buffer{};
    bool called = false;
    file.read(buffer, [&](eddy::result<std::size_t>) { called = true; });
    co_await eddy::yield();
    file.stop_reading();
    disk.hurry();
    const std::string all = co_await read_all(file);
    CHECK(all == "words");
    CHECK(!called);
    CHECK(buffer == std::array<char, 8>{});
    file.close();
  }

  ASYNC_TEST("the call of a cancelled write comes before a later write") {
    const temporary_directory place;
    slow_disk disk;
    file_stream file = co_await open_file(place / "words", file_mode::truncate);
    {
      auto first = eddy::spawn(loop, write_all(file, "first"));
      co_await eddy::yield();
      disk.wait_for_call();  // a worker is about to write these bytes
    }
    {
      auto second = eddy::spawn(loop, write_all(file, "again"));
      // Most likely another worker waits for the first by then, and later leaves this out.
      for (int i = 0; i < 2000; ++i) {
        co_await eddy::yield();
        std::this_thread::yield();
      }
    }
    CHECK(file.write_position() == 0);
    auto last = eddy::spawn(loop, write_all(file, "final"));
    co_await eddy::yield();
    disk.hurry();
    co_await std::move(last);
    CHECK(content(place / "words") == "final");
    CHECK(file.write_position() == 5);
    CHECK(disk.calls() == 2);
    file.close();
  }

  ASYNC_TEST("the loop's own calls wait for the call of a cancelled write, too") {
    const temporary_directory place;
    struct half_slow : slow_disk {
      ~half_slow() override { wait_for_closes(); }
      ssize_t read_at_now(int descriptor, void* data, std::size_t size, off_t offset) override {
        return system::read_at_now(descriptor, data, size, offset);
      }
    };
    store(place / "words", "-----");
    half_slow disk;
    file_stream file = co_await open_file(place / "words", file_mode::update);
    {
      auto first = eddy::spawn(loop, write_all(file, "words"));
      co_await eddy::yield();
      disk.wait_for_call();
    }
    auto reading = eddy::spawn(loop, read_some(file));
    co_await eddy::yield();
    disk.hurry();
    const std::string got = co_await std::move(reading);
    CHECK(got == "words");
    file.close();
  }

  ASYNC_TEST("closing resumes awaiting coroutines and destroys handlers") {
    const temporary_directory place;
    store(place / "words", "words");
    slow_disk disk;
    file_stream file = co_await open_file(place / "words", file_mode::update);
    const auto write_error = [](file_stream& to) -> task<std::error_code> {
      const auto r = co_await as_result(to.write(std::string_view("x")));
      co_return r ? std::error_code() : r.error();
    };
    auto reading = eddy::spawn(loop, read_error(file));
    auto writing = eddy::spawn(loop, write_error(file));
    co_await eddy::yield();
    disk.wait_for_call();
    file.close();
    CHECK(!file.open());
    const std::error_code read = co_await std::move(reading);
    const std::error_code written = co_await std::move(writing);
    CHECK(read == std::errc::operation_canceled);
    CHECK(written == std::errc::operation_canceled);

    file_stream again = co_await open_file(place / "words", file_mode::update);
    std::array<char, 8> buffer;
    const std::string bytes = "bytes";
    int handlers = 0;
    const auto held = std::make_shared<int>(0);
    again.read(buffer, [&handlers, held](eddy::result<std::size_t>) { ++handlers; });
    again.write(bytes, [&handlers, held](eddy::result<void>) { ++handlers; });
    co_await eddy::yield();
    again.close();
    CHECK(held.use_count() == 1);
    CHECK(handlers == 0);
    again.close();
    disk.hurry();
    disk.let_go();
  }

  ASYNC_TEST("an operation that was made before the close fails when it is awaited") {
    const temporary_directory place;
    store(place / "words", "words");
    file_stream file = co_await open_file(place / "words", file_mode::update);
    std::array<char, 8> buffer;
    auto read = file.read(buffer);
    auto write = file.write(std::string_view("x"));
    auto size = file.size();
    auto resize = file.resize(1);
    auto sync = file.sync();
    auto shutdown = file.shutdown();
    file.close();
    const auto a = co_await as_result(std::move(read));
    CHECK(a.error() == std::errc::operation_canceled);
    const auto b = co_await as_result(std::move(write));
    CHECK(b.error() == std::errc::operation_canceled);
    const auto c = co_await as_result(std::move(size));
    CHECK(c.error() == std::errc::operation_canceled);
    const auto d = co_await as_result(std::move(resize));
    CHECK(d.error() == std::errc::operation_canceled);
    const auto e = co_await as_result(std::move(sync));
    CHECK(e.error() == std::errc::operation_canceled);
    const auto f = co_await as_result(std::move(shutdown));
    CHECK(f.error() == std::errc::operation_canceled);
    CHECK(content(place / "words") == "words");
  }

  ASYNC_TEST("a read that is dropped after its bytes came does not move the position") {
    const temporary_directory place;
    store(place / "words", "words");
    file_stream file = co_await open_file(place / "words");
    bool resumed = false;
    const auto read = [](file_stream& from, bool& told) -> task<> {
      std::array<char, 8> buffer;
      eddy::event_loop::current()->forbid_going_on();
      static_cast<void>(co_await from.read(buffer));
      told = true;
    };
    for (int turns = 0; !resumed; ++turns) {
      {
        auto reading = eddy::spawn(loop, read(file, resumed));
        for (int i = 0; i < turns; ++i) co_await eddy::yield();
      }
      CHECK(file.read_position() == (resumed ? 5 : 0));
      REQUIRE(turns < 10);
    }
  }

  ASYNC_TEST("a stream may be moved while its operations are pending") {
    const temporary_directory place;
    store(place / "words", "words");
    slow_disk disk;
    file_stream file = co_await open_file(place / "words");
    auto reading = eddy::spawn(loop, read_some(file));
    co_await eddy::yield();
    disk.wait_for_call();
    file_stream moved(std::move(file));
    CHECK(!file.open());  // NOLINT(bugprone-use-after-move)
    file_stream assigned;
    assigned = std::move(moved);
    disk.hurry();
    const std::string all = co_await std::move(reading);
    CHECK(all == "words");
    CHECK(assigned.read_position() == 5);
    assigned = file_stream();
    CHECK(!assigned.open());
  }

  // Functions on streams.

  ASYNC_TEST("buffered, copy, any_stream and send_file take a file") {
    const temporary_directory place;
    store(place / "lines", "one\ntwo\n");
    eddy::buffered<file_stream> lines(co_await open_file(place / "lines"));
    const auto one = co_await lines.read_line(100);
    CHECK(one == "one");
    const auto two = co_await lines.read_line(100);
    CHECK(two == "two");
    const auto none = co_await lines.read_line(100);
    CHECK(!none);

    const std::string much = numbers(500'000);
    store(place / "much", much);
    file_stream from = co_await open_file(place / "much");
    file_stream to = co_await open_file(place / "copy", file_mode::create_new);
    const std::uint64_t size = co_await eddy::copy(from, to);
    CHECK(size == much.size());
    CHECK(content(place / "copy") == much);

    eddy::any_stream any(co_await open_file(place / "much"));
    const std::string all = co_await read_all(any);
    CHECK(all == much);

    stream_pair ends(loop);
    const auto send = [](eddy::tcp_stream& over, file_stream& sent) -> task<std::uint64_t> {
      const std::uint64_t length = co_await sent.size();
      const std::uint64_t n = co_await eddy::send_file(over, sent.descriptor(), 0, length);
      over.shutdown();
      co_return n;
    };
    auto both = join(send(ends.near, from), read_all(ends.far));
    const auto [sent, got] = co_await std::move(both);
    CHECK(sent == much.size());
    CHECK(got == much);
  }

  ASYNC_TEST("a file is filled from a connection and shut down by copy_bidirectional") {
    const temporary_directory place;
    auto [near, far] = eddy::duplex(1000, 1000);
    file_stream file = co_await open_file(place / "log", file_mode::update_or_create);
    const auto talk = [](eddy::duplex_stream& to) -> task<> {
      co_await to.write(std::string_view("over the wire"));
      to.shutdown();
    };
    auto both = join(eddy::copy_bidirectional(near, file), talk(far));
    const auto [counts, nothing] = co_await std::move(both);
    CHECK(counts.a_to_b == 13);
    CHECK(content(place / "log") == "over the wire");
  }

  // Mistakes.

  TEST_CASE("mistakes with a file_stream abort with a sentence") {
    const auto open_one = [](eddy::event_loop& loop) {
      const int number = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
      return file_stream(loop, number);
    };
    dies_saying("a file_stream was used that is not open", [] { file_stream().seek_read(0); });
    dies_saying("a read is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      std::array<char, 8> buffer;
      file.read(buffer, [](eddy::result<std::size_t>) {});
      file.read(buffer, [](eddy::result<std::size_t>) {});
    });
    dies_saying("a read is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      file.size([](eddy::result<std::uint64_t>) {});
      file.seek_read(1);
    });
    dies_saying("a read is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      const auto work = [](file_stream& from) -> task<> {
        auto two = join(read_all(from), from.size());
        static_cast<void>(co_await std::move(two));
      };
      eddy::block_on(loop, work(file));
    });
    dies_saying("a write is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      file.sync([](eddy::result<void>) {});
      file.shutdown([](eddy::result<void>) {});
    });
    dies_saying("a write is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      file.sync([](eddy::result<void>) {});
      file.seek_write(1);
    });
    dies_saying("a write is already pending on this file_stream", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      const auto work = [](file_stream& to) -> task<> {
        auto two = join(to.sync(), to.sync());
        static_cast<void>(co_await std::move(two));
      };
      eddy::block_on(loop, work(file));
    });
    dies_saying("empty buffer", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      static_cast<void>(file.read(std::span<char>()));
    });
    dies_saying("file_stream::read", [&] {
      eddy::event_loop loop;
      file_stream file = open_one(loop);
      std::array<char, 8> buffer;
      file.read(buffer, nullptr);
    });
    dies_saying("no file_mode", [] {
      eddy::event_loop loop;
      const auto work = []() -> task<> {
        static_cast<void>(co_await open_file("/etc/hosts", static_cast<file_mode>(99)));
      };
      eddy::block_on(loop, work());
    });
  }

  SCENARIO_OBJECT_TEST(copies_a_file<false>, "a file that is in memory is copied")
  SCENARIO_OBJECT_TEST(copies_a_file<true>, "a file on a slow disk is copied")
}
