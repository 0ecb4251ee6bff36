// SPDX-License-Identifier: BSD-2-Clause
//
// Starts a million suspended tasks on one thread, and then as many blocked threads as the
// machine allows, up to THREADS. Prints how long they take to start, and how much memory
// each needs.
//
//   ./samples/run many_tasks [TASKS [THREADS]]      the defaults are 1000000 and 20000

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {

/// The resident memory of the process (/proc/self/statm), without the kernel's page tables
/// and stacks.
std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::FILE* const statm = std::fopen("/proc/self/statm", "r");
  if (statm == nullptr || std::fscanf(statm, "%zu %zu", &total, &resident) != 2) {
    std::perror("reading /proc/self/statm");
    std::exit(1);
  }
  std::fclose(statm);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void report(const char* what, std::size_t count, clock_type::duration took, std::size_t before) {
  const double each = static_cast<double>(resident_bytes() - before) / static_cast<double>(count);
  const std::chrono::duration<double, std::micro> time = took;
  std::printf("%8zu %-8s started in %7.1f ms, %6.2f us each; %7.0f bytes each\n", count, what,
              time.count() / 1000, time.count() / static_cast<double>(count), each);
}

eddy::task<> wait_an_hour() { co_await eddy::sleep(1h); }

void many_tasks(std::size_t wanted) {
  const std::size_t before = resident_bytes();
  const auto begin = clock_type::now();
  eddy::event_loop loop;
  std::vector<eddy::future<>> tasks;
  tasks.reserve(wanted);
  for (std::size_t i = 0; i < wanted; ++i) tasks.push_back(eddy::spawn(loop, wait_an_hour()));
  while (loop.run_ready()) {
  }
  report("tasks", wanted, clock_type::now() - begin, before);
}

void many_threads(std::size_t wanted) {
  const std::size_t before = resident_bytes();
  const auto begin = clock_type::now();
  std::counting_semaphore<> hour_is_over(0);
  std::vector<std::thread> threads;
  threads.reserve(wanted);
  std::string why = "all that were requested";
  try {
    while (threads.size() < wanted) {
      threads.emplace_back([&hour_is_over] { hour_is_over.acquire(); });
    }
  } catch (const std::system_error& e) {
    why = std::string("the machine allows no more: ") + e.what();
  }
  if (!threads.empty()) report("threads", threads.size(), clock_type::now() - begin, before);
  std::printf("         (%s)\n", why.c_str());
  hour_is_over.release(static_cast<std::ptrdiff_t>(threads.size()));
  for (std::thread& t : threads) t.join();
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int index, std::size_t otherwise) {
    return index < argc ? std::strtoul(argv[index], nullptr, 10) : otherwise;
  };
  const std::size_t tasks = number(1, 1'000'000);
  const std::size_t threads = number(2, 20'000);
  if (tasks == 0 || threads == 0) {
    std::fputs("usage: many_tasks [TASKS [THREADS]], both more than 0\n", stderr);
    return 2;
  }
  many_tasks(tasks);
  many_threads(threads);
}
