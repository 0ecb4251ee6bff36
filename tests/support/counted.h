// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Counts its living copies in `alive`, which must outlive them.
class counted {
public:
  explicit counted(int& alive) noexcept : alive_(&alive) { ++alive; }
  counted(const counted& other) noexcept : alive_(other.alive_) { ++*alive_; }
  counted(counted&& other) noexcept : alive_(other.alive_) { ++*alive_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*alive_; }

private:
  int* alive_;
};
