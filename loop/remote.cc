// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/remote.h>

#include <utility>

#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

bool remote::post(handler<void()> function) const {
  detail::expect_handler(function, "post");
  if (!box_) detail::misuse("a remote was used that was moved from");
  return box_->put(std::move(function));
}

std::size_t remote::backlog() const noexcept {
  if (!box_) detail::misuse("a remote was used that was moved from");
  return box_->backlog();
}

bool remote::check_thread() const noexcept {
  if (!box_) detail::misuse("a remote was used that was moved from");
  return box_->check_thread();
}

reserved_post::reserved_post(const remote& to, handler<void()> function)
    : box_(to.box_), sheet_(nullptr) {
  detail::expect_handler(function, "reserved_post");
  sheet_ = detail::mailbox::reserve(std::move(function));
}

reserved_post::~reserved_post() {
  if (sheet_ != nullptr) detail::mailbox::drop(*sheet_);
}

bool reserved_post::post() noexcept {
  return sheet_ != nullptr && box_->put_reserved(*std::exchange(sheet_, nullptr));
}

}  // namespace eddy
