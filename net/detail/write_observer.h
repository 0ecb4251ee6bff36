// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

/// A write tells this object when a part of its bytes has moved, long before the write is complete.
/// A limit on the time without progress needs that.
class write_observer {
public:
  write_observer() noexcept = default;
  write_observer(const write_observer&) = delete;
  write_observer& operator=(const write_observer&) = delete;

  virtual void bytes_moved() noexcept = 0;

protected:
  ~write_observer() = default;
};

}  // namespace eddy::detail
