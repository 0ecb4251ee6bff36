// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/file_watch.h>.
#include <eddy/loop/file_watch.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/epoll_refusal.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::file_change;
using eddy::file_event;

static_assert(std::is_nothrow_move_constructible_v<eddy::file_watch>);
static_assert(!std::is_copy_constructible_v<eddy::file_watch>);

namespace {

std::string name_of(file_change what) {
  switch (what) {
    case file_change::modified: return "modified";
    case file_change::written: return "written";
    case file_change::attributes: return "attributes";
    case file_change::created: return "created";
    case file_change::deleted: return "deleted";
    case file_change::moved_from: return "moved_from";
    case file_change::moved_to: return "moved_to";
    case file_change::self_deleted: return "self_deleted";
    case file_change::self_moved: return "self_moved";
    case file_change::overflow: return "overflow";
    case file_change::lost: return "lost";
  }
  return "?";
}

/// A handler that notes kinds and names: "created:a".
auto noting(journal& note) {
  return [&note](const file_event& event) {
    std::string line = name_of(event.what);
    if (event.directory) line += '/';
    if (!event.name.empty()) line += ':' + std::string(event.name);
    note(line);
  };
}

void write(const std::string& path, const char* text = "x") {
  std::ofstream(path, std::ios::app) << text;
}

/// Runs ready work until there is none.
void run_all(eddy::event_loop& loop) {
  while (loop.run_ready()) {
  }
}

struct with_directory : with_loop {
  temporary_directory directory;
};

}  // namespace

TEST_CASE_TEMPLATE("changes to a directory's entries are reported with their names", Loop,
                   ANY_LOOP) {
  Loop on;
  const temporary_directory directory;
  journal note;
  eddy::file_watch watch(on.loop, directory.path());
  watch.start([&, n = noting(note)](const file_event& event) mutable {
    n(event);
    if (event.name == "last") watch.stop();
  });
  CHECK(watch.active());
  CHECK(watch.path() == directory.path());

  write(directory / "a");
  ::chmod((directory / "a").c_str(), 0600);
  std::filesystem::rename(directory / "a", directory / "b");
  std::filesystem::remove(directory / "b");
  std::filesystem::create_directory(directory / "last");
  CHECK(note == "");
  on.run();
  CHECK(note ==
        "created:a modified:a written:a attributes:a moved_from:a moved_to:b deleted:b "
        "created/:last");
}

TEST_CASE_FIXTURE(with_directory, "the two halves of a rename have the same number") {
  write(directory / "a");
  write(directory / "b");
  std::vector<std::uint32_t> moves;
  eddy::file_watch watch(loop, directory.path());
  watch.start([&](const file_event& event) { moves.push_back(event.move); },
              file_change::moved_from | file_change::moved_to);
  std::filesystem::rename(directory / "a", directory / "c");
  std::filesystem::rename(directory / "b", directory / "d");
  run_all(loop);
  REQUIRE(moves.size() == 4);
  CHECK(moves[0] == moves[1]);
  CHECK(moves[2] == moves[3]);
  CHECK(moves[0] != moves[2]);
}

TEST_CASE_FIXTURE(with_directory, "only the wanted kinds of change are reported") {
  journal note;
  eddy::file_watch watch(loop, directory.path());
  watch.start(noting(note), file_change::created);
  write(directory / "a");
  std::filesystem::remove(directory / "a");
  run_all(loop);
  CHECK(note == "created:a");
}

TEST_CASE_FIXTURE(with_directory, "two watches of one file each get the kinds they want") {
  const std::string file = directory / "a";
  write(file);
  journal note;
  eddy::file_watch modified(loop, file);
  auto attributes = std::make_unique<eddy::file_watch>(loop, file);
  modified.start([&](const file_event& e) { note("one:" + name_of(e.what)); },
                 file_change::modified);
  attributes->start([&](const file_event& e) { note("two:" + name_of(e.what)); },
                    file_change::attributes);
  write(file);
  ::chmod(file.c_str(), 0600);
  run_all(loop);
  CHECK(note == "one:modified two:attributes");

  attributes.reset();
  write(file);
  run_all(loop);
  CHECK(note == "one:modified two:attributes one:modified");
}

TEST_CASE_FIXTURE(with_directory,
                  "a watch follows a moved file, and ends when the file is deleted") {
  const std::string file = directory / "a";
  const std::string moved = directory / "b";
  write(file);
  journal note;
  eddy::file_watch watch(loop, file);
  watch.start(noting(note), eddy::name_changes);
  std::filesystem::rename(file, moved);
  run_all(loop);
  CHECK(note == "self_moved");
  CHECK(watch.active());

  std::filesystem::remove(moved);
  loop.run();
  CHECK(note == "self_moved self_deleted");
  CHECK_FALSE(watch.active());
}

TEST_CASE_FIXTURE(with_directory,
                  "a path that cannot be watched is refused, and may be tried again") {
  eddy::file_watch watch(loop, directory / "a");
  const auto code = [&] {
    try {
      watch.start([](const file_event&) {});
    } catch (const std::system_error& e) {
      CHECK(std::string(e.what()).contains(directory / "a"));
      return e.code();
    }
    return std::error_code();
  };
  CHECK(code() == std::errc::no_such_file_or_directory);
  CHECK_FALSE(watch.active());

  write(directory / "a");
  CHECK_FALSE(code());
  CHECK(watch.active());
  watch.stop();
}

TEST_CASE_FIXTURE(with_directory,
                  "changes are reported even if the kernel refused inotify's descriptor once") {
  eddy::file_watch watch(loop, directory.path());
  journal note;
  watch.start([&](const file_event& event) {
    note(event.name);
    watch.stop();
  });
  {
    const epoll_refusal once(1);
    CHECK_THROWS_WITH_AS(loop.run(), "watching files: No space left on device", std::system_error);
  }
  write(directory / "a");
  loop.run();
  CHECK(note == "a");
}

TEST_CASE_FIXTURE(with_directory, "a path with a zero byte in it is refused") {
  write(directory / "a");
  eddy::file_watch watch(loop, directory / std::string("a\0b", 3));
  CHECK_THROWS_AS(watch.start([](const file_event&) {}), std::system_error);
  CHECK_FALSE(watch.active());
}

TEST_CASE_FIXTURE(with_directory, "a handler may stop its own watch and others") {
  const std::string file = directory / "a";
  write(file);
  journal note;
  auto one = std::make_unique<eddy::file_watch>(loop, file);
  auto two = std::make_unique<eddy::file_watch>(loop, file);
  auto three = std::make_unique<eddy::file_watch>(loop, directory.path());
  three->start([&](const file_event&) { note("three"); }, file_change::modified);

  SUBCASE("its own watch") {
    one->start(
        [&](const file_event&) {
          one.reset();
          note("one");
        },
        file_change::modified);
    two->start([&](const file_event&) { note("two"); }, file_change::modified);
    write(file);
    run_all(loop);
    CHECK(note.text().contains("one two"));
    CHECK(note.text().contains("three"));
    CHECK_FALSE(one);
  }
  SUBCASE("all watches of its file") {
    one->start(
        [&](const file_event&) {
          two.reset();
          one.reset();
          note("one");
        },
        file_change::modified);
    two->start([&](const file_event&) { note("two"); }, file_change::modified);
    write(file);
    write(file);
    run_all(loop);
    CHECK(note.text().contains("one"));
    CHECK_FALSE(note.text().contains("two"));
    CHECK(note.text().contains("three"));
  }
  SUBCASE("all watches, at any of many changes") {
    const auto end_all = [&](const file_event&) {
      one.reset();
      two.reset();
      three.reset();
      note("ended");
    };
    one->start(end_all);
    two->start(end_all);
    three->start(end_all);
    for (int i = 0; i < 10; ++i) write(file);
    run_all(loop);
    CHECK(note == "ended");
  }
  SUBCASE("its own watch after moving it") {
    one->start(
        [&](const file_event&) {
          one = std::make_unique<eddy::file_watch>(std::move(*one));
          note("one");
        },
        file_change::written);
    write(file);
    run_all(loop);
    write(file);
    run_all(loop);
    CHECK(note.text().contains("one three one"));
  }
  three.reset();
}

TEST_CASE_FIXTURE(with_directory, "a handler that throws loses no other change") {
  journal note;
  eddy::file_watch watch(loop, directory.path());
  watch.start(
      [&](const file_event& event) {
        note(event.name);
        if (event.name == "a") throw std::runtime_error("no");
      },
      file_change::created);
  write(directory / "a");
  write(directory / "b");
  CHECK_THROWS_AS(loop.run_ready(), std::runtime_error);
  run_all(loop);
  CHECK(note == "a b");
}

TEST_CASE_FIXTURE(with_directory, "a watch that is started in a handler gets only later changes") {
  journal note;
  eddy::file_watch first(loop, directory.path());
  eddy::file_watch second(loop, directory.path());
  first.start(
      [&](const file_event& event) {
        note("1" + std::string(event.name));
        if (!second.active()) {
          second.start([&](const file_event& e) { note("2" + std::string(e.name)); },
                       file_change::created);
        }
      },
      file_change::created);
  write(directory / "a");
  write(directory / "b");
  run_all(loop);
  CHECK(note == "1a 1b");
  write(directory / "c");
  run_all(loop);
  CHECK(note == "1a 1b 1c 2c");
}

TEST_CASE_FIXTURE(with_directory, "a deleted file can be watched again by its own handler") {
  const std::string file = directory / "a";
  write(file);
  journal note;
  eddy::file_watch watch(loop, file);
  watch.start(
      [&](const file_event& event) {
        CHECK(event.what == file_change::self_deleted);
        write(file);
        watch.start(noting(note), file_change::modified);
      },
      file_change::self_deleted);
  std::filesystem::remove(file);
  run_all(loop);
  CHECK(watch.active());
  write(file);
  run_all(loop);
  CHECK(note == "modified");
}

TEST_CASE_FIXTURE(with_directory, "changes beyond the kernel's limit are reported as an overflow") {
  std::size_t limit = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
  REQUIRE(limit > 0);
  if (limit > 100'000) return;
  const std::string a = directory / "a";
  const std::string b = directory / "b";
  write(a);
  write(b);
  int in_a = 0;
  int in_b = 0;
  int in_directory = 0;
  const auto counting = [](int& overflows) {
    return [&overflows](const file_event& event) {
      if (event.what == file_change::overflow) ++overflows;
    };
  };
  eddy::file_watch watch_a(loop, a);
  eddy::file_watch watch_b(loop, b);
  eddy::file_watch all(loop, directory.path());
  watch_a.start(counting(in_a), file_change::attributes);
  watch_b.start(
      [&, count = counting(in_b)](const file_event& event) mutable {
        count(event);
        if (event.what == file_change::overflow) watch_b.stop();
      },
      file_change::attributes);
  all.start(counting(in_directory), file_change::created);
  for (std::size_t i = 0; i < limit; ++i) {
    ::chmod(a.c_str(), 0600);
    ::chmod(b.c_str(), 0600);
  }
  run_all(loop);
  CHECK(in_a == 1);
  CHECK(in_b == 1);
  CHECK(in_directory == 1);
}

TEST_CASE_FIXTURE(with_directory, "all watches of a loop share one descriptor") {
  const auto before = open_descriptors();
  std::vector<eddy::file_watch> watches;
  for (int i = 0; i < 20; ++i) {
    const std::string file = directory / std::to_string(i);
    write(file);
    watches.emplace_back(loop, file).start([](const file_event&) {});
  }
  CHECK(open_descriptors() == before + 1);
  CHECK(loop.count().waiting == 20);
}

TEST_CASE_TEMPLATE("a watch in the background does not keep its loop running", Loop, ANY_LOOP) {
  Loop on;
  const temporary_directory directory;
  journal note;
  eddy::file_watch watch(on.loop, directory.path());
  watch.background(true);
  watch.start(noting(note), file_change::created);
  on.run();
  CHECK(note == "");

  eddy::timer timer(on.loop);
  timer.start(1ms, [&] { write(directory / "a"); });
  eddy::timer later(on.loop);
  later.start_every(1ms, [&] {
    if (!note.text().empty()) later.stop();
  });
  on.run();
  CHECK(note == "created:a");
}

TEST_CASE_FIXTURE(with_directory, "a moved watch calls its handler") {
  journal note;
  eddy::file_watch first(loop, directory.path());
  first.start(noting(note), file_change::created);
  eddy::file_watch second(std::move(first));
  CHECK_FALSE(first.active());
  CHECK(second.path() == directory.path());
  write(directory / "a");
  run_all(loop);
  CHECK(note == "created:a");
}

TEST_CASE_FIXTURE(with_directory, "the child of a fork has an inotify descriptor of its own") {
  const std::string file = directory / "a";
  write(file);
  journal note;
  std::optional<eddy::file_watch> watch(std::in_place, loop, directory.path());
  eddy::file_watch of_file(loop, file);
  watch->start(noting(note), file_change::created);
  of_file.start(noting(note));

  SUBCASE("which reports changes after its first turn") {
    CHECK(holds_in_child([&] {
      loop.run_ready();
      write(directory / "b");
      run_all(loop);
      return note == "created:b";
    }));
    run_all(loop);
    CHECK(note == "created:b");
  }
  SUBCASE("which leaves the parent's watches when its own are stopped") {
    CHECK(holds_in_child([&] {
      watch.reset();
      of_file.stop();
      loop.run_ready();
      return true;
    }));
    write(directory / "b");
    run_all(loop);
    CHECK(note == "created:b");
  }
  SUBCASE("which reports changes even if events were queued at the fork") {
    write(directory / "b");
    eddy::file_watch later(loop, directory.path());
    later.start(noting(note), file_change::created);
    CHECK(holds_in_child([&] {
      loop.run_ready();
      write(directory / "c");
      run_all(loop);
      return note == "created:c created:c";
    }));
    run_all(loop);
    CHECK(note == "created:b created:c created:c");
  }
  SUBCASE("which keeps no loop running") {
    CHECK(holds_in_child([&] {
      watch->background(true);
      of_file.background(true);
      loop.run();
      return loop.count().waiting == 0;
    }));
  }
  SUBCASE("which adds nothing to the parent's") {
    CHECK(holds_in_child([&] {
      eddy::file_watch other(loop, file);
      other.start(noting(note), file_change::modified);
      other.stop();
      of_file.stop();
      run_all(loop);
      write(directory / "b");
      run_all(loop);
      return note == "created:b";
    }));
    run_all(loop);
    CHECK(note == "created:b");
  }
  SUBCASE("which reports lost paths") {
    const ::pid_t pid = start_forked([&] {
      std::filesystem::remove(file);
      run_all(loop);
      return note == "lost" && !of_file.active() && watch->active();
    });
    CHECK(end_of(pid) == 0);
    run_all(loop);
    CHECK(note.text().contains("self_deleted"));
  }
}

TEST_CASE_FIXTURE(tidy, "destroying a loop before its file watches aborts") {
  dies_saying("descriptors, signals, files or children watched", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    eddy::file_watch watch(*loop, "/");
    watch.start([](const file_event&) {});
    loop.reset();
  });
}

TEST_CASE_FIXTURE(with_directory, "a file that nobody watches any more wakes no loop") {
  const std::string file = directory / "a";
  write(file);
  eddy::file_watch watch(loop, file);
  watch.start([](const file_event&) {});
  watch.stop();
  run_all(loop);  // the kernel tells that it has ended
  write(file);
  CHECK_FALSE(loop.run_ready());
}

TEST_CASE_FIXTURE(with_directory, "a watch that is started again counts once") {
  journal note;
  eddy::file_watch watch(loop, directory.path());
  watch.start([](const file_event&) { FAIL_CHECK("was changed"); });
  watch.start(noting(note), file_change::created);
  CHECK(loop.count().waiting == 1);
  write(directory / "a");
  run_all(loop);
  CHECK(note == "created:a");
}

TEST_CASE_FIXTURE(with_directory, "a watch that is moved stays in the background") {
  eddy::file_watch first(loop, directory.path());
  first.background(true);
  first.start([](const file_event&) {});
  {
    const eddy::file_watch second(std::move(first));
    CHECK(loop.count().waiting == 0);
  }
  CHECK(loop.count().waiting == 0);
}

TEST_CASE_FIXTURE(with_loop,
                  "an error names the path that cannot be watched, even if it is empty") {
  eddy::file_watch watch(loop, "");
  CHECK_THROWS_WITH(watch.start([](const file_event&) {}), "watching : No such file or directory");
}
