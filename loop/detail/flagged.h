// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

/// Sets a flag for a scope.
class flagged {
public:
  explicit flagged(bool& flag) noexcept : flag_(flag) { flag_ = true; }
  flagged(const flagged&) = delete;
  flagged& operator=(const flagged&) = delete;
  ~flagged() { flag_ = false; }

private:
  bool& flag_;
};

}  // namespace eddy::detail
