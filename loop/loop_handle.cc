// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/loop_handle.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/post_queue.h>

namespace eddy {

bool loop_handle::post(handler<void()> function) const {
  detail::expect_handler(function, "post");
  if (!box_) detail::misuse("a loop_handle was used that was moved from");
  return box_->put(std::move(function));
}

std::size_t loop_handle::backlog() const noexcept {
  if (!box_) detail::misuse("a loop_handle was used that was moved from");
  return box_->backlog();
}

bool loop_handle::check_thread() const noexcept {
  if (!box_) detail::misuse("a loop_handle was used that was moved from");
  return box_->check_thread();
}

reserved_post::reserved_post(const loop_handle& to, handler<void()> function)
    : box_(to.box_), chunk_(nullptr) {
  detail::expect_handler(function, "reserved_post");
  chunk_ = detail::post_queue::reserve(std::move(function));
}

reserved_post::~reserved_post() {
  if (chunk_ != nullptr) detail::post_queue::drop(*chunk_);
}

bool reserved_post::post() noexcept {
  return chunk_ != nullptr && box_->put_reserved(*std::exchange(chunk_, nullptr));
}

}  // namespace eddy
