// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <functional>
#include <utility>

/// Calls a function when it is destroyed, unless it was moved from.
class at_end {
public:
  explicit at_end(std::function<void()> work) : work_(std::move(work)) {}
  at_end(at_end&& other) noexcept : work_(std::exchange(other.work_, nullptr)) {}
  at_end& operator=(at_end&&) = delete;
  ~at_end() {
    if (work_) work_();
  }

private:
  std::function<void()> work_;
};
