// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>

namespace eddy::detail {

class open_socket;

/// The handler of a write that started after a shutdown, until the loop calls it with an error.
///
/// It is not the current operation of its socket, because an earlier write is still pending.
/// `refuse` makes it.
class refusal final : public ready_node, public recycled {
public:
  refusal(open_socket& socket, int error, handler<void(result<void>)>&& on_done) noexcept;
  ~refusal() { entry_.unlink(); }

private:
  friend class refusals_of;
  friend void refuse(open_socket& socket, int error, handler<void(result<void>)> on_done);

  struct list_entry : detail::list_node {
    explicit list_entry(refusal& r) noexcept : owner(r) {}
    refusal& owner;
  };

  static void run(ready_node& node);

  open_socket& socket_;
  int error_;
  handler<void(result<void>)> on_done_;
  list_entry entry_;  // in the loop's list
};

/// Takes the refusals of a socket out of the ready queue, and destroys them when it is destroyed.
class refusals_of {
public:
  /// Takes no refusal if `socket` is null.
  explicit refusals_of(const open_socket* socket) noexcept;
  refusals_of(const refusals_of&) = delete;
  refusals_of& operator=(const refusals_of&) = delete;
  ~refusals_of();

private:
  list_node taken_;
};

}  // namespace eddy::detail
