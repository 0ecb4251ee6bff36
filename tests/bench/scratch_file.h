// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The workloads `file-read MIB STEPS` and `file-write MIB STEPS` read or overwrite a file of MIB
// MiB in STEPS steps of 64 KiB, from its beginning to its end and again. They print the processor
// time that all threads of the process need for one step.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <unistd.h>

#include "bench/workload.h"

namespace bench {

inline constexpr std::size_t file_step = std::size_t{64} * 1024;

/// A file without a name in /tmp. Its bytes are in memory.
class scratch_file {
public:
  explicit scratch_file(std::uint64_t mib) : size_(mib * 1024 * 1024) {
    const std::vector<char> step(file_step, 'f');
    for (std::uint64_t at = 0; at < size_; at += file_step) {
      if (std::fwrite(step.data(), 1, file_step, file_) != file_step) std::abort();
    }
    if (std::fflush(file_) != 0) std::abort();
  }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  ~scratch_file() { std::fclose(file_); }

  [[nodiscard]] int descriptor() const { return ::fileno(file_); }
  [[nodiscard]] std::uint64_t size() const { return size_; }

private:
  static std::FILE* make() {
    std::FILE* const f = std::tmpfile();
    if (f == nullptr) std::abort();
    return f;
  }

  std::FILE* file_ = make();
  std::uint64_t size_;
};

/// The next part of a step, and its place in the file.
struct file_part {
  std::uint64_t at;
  std::size_t size;
};

/// The parts of `count` steps. A call that moves fewer bytes than wanted is followed by one for the
/// rest.
class file_parts {
public:
  file_parts(const scratch_file& file, std::uint64_t count)
      : size_(file.size()), left_(count * file_step) {}

  [[nodiscard]] bool empty() const { return left_ == 0; }
  [[nodiscard]] file_part next() const {
    return {at_, static_cast<std::size_t>((left_ - 1) % file_step + 1)};
  }
  void pass(std::size_t moved) {
    left_ -= moved;
    at_ = (at_ + moved) % size_;
  }

private:
  std::uint64_t size_;
  std::uint64_t left_;
  std::uint64_t at_ = 0;
};

}  // namespace bench
