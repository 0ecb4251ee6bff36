// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads two pages at once in four styles: threads, callbacks, futures and await. Shows
// for each style how the downloads overlap, and how many threads, how much time, how much
// memory and how many context switches they needed.
//
//   ./samples/run                    two pages that this program serves itself
//   ./samples/run two_sites URL URL  any two http:// pages
//
// Each style is a program of its own, such as two_sites_await. This program checks that all
// styles download the same bytes.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/task.h>
#include <eddy/loop/child_process.h>

#include "page.h"
#include "page_server.h"

namespace {

constexpr std::array styles{"threads", "callback", "future", "await"};

struct fate {
  long long started = 0;  // microseconds
  long long ended = 0;
  int threads = 0;
  int status = -1;  // the HTTP status, or negative: the body is an error message
  std::string body;
};

struct run {
  std::array<fate, 2> pages;
  long long peak_kb = 0;
  long long switches = 0;
};

/// A file in memory for the output of a child process.
class scratch_file {
public:
  scratch_file() : descriptor_(::memfd_create("two_sites", MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
  }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  ~scratch_file() { ::close(descriptor_); }

  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] std::FILE* reopen() const {
    ::lseek(descriptor_, 0, SEEK_SET);
    return ::fdopen(::dup(descriptor_), "r");
  }

private:
  int descriptor_;
};

::pid_t start(const std::string& program, const std::vector<std::string>& arguments, int output) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(program.c_str()));
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  ::pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), program);
  return pid;
}

bool read_fate(std::FILE* from, fate& f) {
  std::size_t size = 0;
  if (std::fscanf(from, "%lld %lld %d %d %zu", &f.started, &f.ended, &f.threads, &f.status,
                  &size) != 5) {
    return false;
  }
  std::fgetc(from);  // the line's end
  f.body.resize(size);
  return std::fread(f.body.data(), 1, size, from) == size;
}

eddy::task<eddy::exit_status> end_of(::pid_t pid) {
  const auto wait = [pid](eddy::completer<eddy::exit_status> done) {
    eddy::child_process process(*eddy::event_loop::current(), pid);
    process.start([done](eddy::result<eddy::exit_status> how) { done(how); });
    return process;
  };
  const eddy::exit_status how = co_await eddy::adapt<eddy::exit_status>(wait);
  co_return how;
}

eddy::task<run> run_style(std::string program, std::vector<std::string> arguments) {
  const scratch_file output;
  run r;
  const ::pid_t pid = start(program, arguments, output.descriptor());
  co_await end_of(pid);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(output.reopen(), &std::fclose);
  const bool begun = file && std::fscanf(file.get(), "%lld %lld", &r.peak_kb, &r.switches) == 2;
  if (!begun || !read_fate(file.get(), r.pages[0]) || !read_fate(file.get(), r.pages[1])) {
    throw std::runtime_error(program + " ended without a report");
  }
  co_return r;
}

void draw(const char* style, const run& r, const std::vector<std::string>& urls) {
  constexpr int width = 50;
  const long long end = std::max({r.pages[0].ended, r.pages[1].ended, 1LL});
  const auto column = [end](long long t) { return static_cast<int>(t * width / end); };

  std::printf("\n%s\n", style);
  for (std::size_t i = 0; i < r.pages.size(); ++i) {
    const fate& f = r.pages.at(i);
    const int from = column(f.started);
    const int length = std::max(column(f.ended) - from, 1);
    const std::string bar(static_cast<std::size_t>(length), f.status < 0 ? 'x' : '=');
    std::printf("  %zu |%*s%-*s| %4lld ms  ", i + 1, from, "", width - from, bar.c_str(),
                (f.ended - f.started) / 1000);
    if (f.status < 0) {
      std::printf("%s: %s\n", urls.at(i).c_str(), f.body.c_str());
    } else {
      std::printf("status %d, %zu bytes\n", f.status, f.body.size());
    }
  }
  const bool overlap =
      r.pages[0].started < r.pages[1].ended && r.pages[1].started < r.pages[0].ended;
  const int threads = std::max(r.pages[0].threads, r.pages[1].threads);
  std::printf("  %s, on %d thread%s, in %lld ms, with %.1f MB and %lld context switches\n",
              overlap ? "at the same time" : "one after the other", threads,
              threads == 1 ? "" : "s", end / 1000, static_cast<double>(r.peak_kb) / 1000,
              r.switches);
}

/// Runs the four styles one after the other. False if a page did not arrive or differed
/// between styles.
eddy::task<bool> four_styles(std::string folder, std::vector<std::string> arguments) {
  std::vector<run> runs;
  for (const char* style : styles) {
    std::string program = folder + "/two_sites_" + style;
    run r = co_await run_style(std::move(program), arguments);
    draw(style, r, arguments);
    std::fflush(stdout);
    runs.push_back(std::move(r));
  }
  bool good = true;
  for (std::size_t i = 0; i < 2; ++i) {
    for (const run& r : runs) {
      good = good && r.pages.at(i).status >= 0;
      if (r.pages.at(i).body == runs[0].pages.at(i).body) continue;
      std::printf("\n%s differed between the four styles\n", arguments.at(i).c_str());
      good = false;
      break;
    }
  }
  if (good) std::puts("\nall four brought the same bytes");
  co_return good;
}

bool own_pages(eddy::event_loop& loop, const std::string& folder) {
  const page_server server(loop);
  std::vector<std::string> arguments{server.url(0), server.url(1), "--for-picture"};
  std::printf("downloading %s (%zu bytes)\n        and %s (%zu bytes), four times\n",
              arguments[0].c_str(), server.body(0).size(), arguments[1].c_str(),
              server.body(1).size());
  return eddy::block_on(loop, four_styles(folder, std::move(arguments)));
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  eddy::event_loop loop;
  if (argc == 1) return own_pages(loop, folder) ? 0 : 1;
  const downloads checked(argc, argv);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  arguments.emplace_back("--for-picture");
  return eddy::block_on(loop, four_styles(folder, std::move(arguments))) ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "two_sites: %s\n", e.what());
  return 1;
}
