// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/result.h>

namespace eddy::detail {

class open_socket;

/// A handler that the loop will tell that its write came after a shutdown. It waits beside the
/// write that is still under way, which has the socket's only place. `refuse` makes it.
class refusal final : public ready_node, public recycled {
public:
  refusal(open_socket& socket, int error, handler<void(result<void>)>&& on_done) noexcept;
  ~refusal() { place_.unlink(); }

private:
  friend class refusals_of;
  friend void refuse(open_socket& socket, int error, handler<void(result<void>)> on_done);

  struct place : detail::link {
    explicit place(refusal& r) noexcept : of(r) {}
    refusal& of;
  };

  static void run(ready_node& node);

  open_socket& socket_;
  int error_;
  handler<void(result<void>)> on_done_;
  place place_;  // among those of the loop
};

/// Takes the refusals of a socket out of the queue, and drops their handlers when it is destroyed.
class refusals_of {
public:
  /// None, if `socket` is null.
  explicit refusals_of(const open_socket* socket) noexcept;
  refusals_of(const refusals_of&) = delete;
  refusals_of& operator=(const refusals_of&) = delete;
  ~refusals_of();

private:
  link taken_;
};

}  // namespace eddy::detail
