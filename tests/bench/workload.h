// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The code that the workloads of all subjects share: arguments, a clock, and output.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;

inline double nanoseconds(clock::duration d) {
  return std::chrono::duration<double, std::nano>(d).count();
}

/// The processor time of this process, in nanoseconds.
inline double processor_time() {
  std::timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

inline void tell(const char* name, double value, const char* unit = "ns") {
  std::printf("%s %.2f %s\n", name, value, unit);
  std::fflush(stdout);
}

/// xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016): the same numbers for every subject.
class random_numbers {
public:
  std::uint64_t operator()() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 2685821657736338717U;
  }
  std::uint64_t below(std::uint64_t limit) { return operator()() % limit; }

private:
  std::uint64_t state_ = 88172645463325252U;
};

using numbers = std::vector<std::uint64_t>;

struct workload {
  std::size_t arguments;
  std::function<void(const numbers&)> run;
};

/// The `main` of `micro WORKLOAD ARGS`. Exits with 64 for an unknown workload.
inline int main(int count, char** words, const std::map<std::string_view, workload>& known) {
  const auto found = count > 1 ? known.find(words[1]) : known.end();
  if (found == known.end() || static_cast<std::size_t>(count) != found->second.arguments + 2) {
    std::fprintf(stderr, "usage: %s WORKLOAD ARGS, of these:", words[0]);
    for (const auto& [name, w] : known) {
      std::fprintf(stderr, " %s (%zu)", std::string(name).c_str(), w.arguments);
    }
    std::fprintf(stderr, "\n");
    return 64;
  }
  numbers arguments;
  for (int i = 2; i < count; ++i) {
    char* end = nullptr;
    arguments.push_back(std::strtoull(words[i], &end, 10));
    if (*end != '\0' || arguments.back() == 0) return 64;
  }
  found->second.run(arguments);
  return 0;
}

/// Calls `work` with a tenth of `count` as a warm-up, then with `count`, and prints the time of
/// one operation. `work(n)` performs n operations.
template <class Work>
void time_each(const char* name, std::uint64_t count, Work work) {
  work(count / 10 + 1);
  const auto begin = clock::now();
  work(count);
  tell(name, nanoseconds(clock::now() - begin) / static_cast<double>(count));
}

/// The same for the processor time of all threads of this process.
template <class Work>
void cpu_each(const char* name, std::uint64_t count, Work work) {
  work(count / 10 + 1);
  const double begin = processor_time();
  work(count);
  tell(name, (processor_time() - begin) / static_cast<double>(count));
}

}  // namespace bench
