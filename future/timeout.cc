// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/timeout.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include <eddy/loop/detail/description_writers.h>
#include <eddy/loop/detail/location.h>
#include <eddy/loop/detail/text.h>

namespace eddy {

namespace {

std::string words(duration limit, const std::source_location& where, std::string_view tree) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  std::string all = detail::text({"not done within ", ms, " ms"});
  if (where.line() != 0 && detail::is_the_users(where)) {
    all += ", the limit of ";
    detail::add_place(all, where);
  }
  if (!tree.empty()) detail::add_text(all, {"; the work waited in ", tree});
  return all;
}

}  // namespace

timed_out::timed_out(duration limit, std::source_location where, std::string waited_for,
                     std::string_view in_one_line)
    : std::system_error(std::make_error_code(std::errc::timed_out),
                        words(std::max(limit, duration::zero()), where, in_one_line)),
      limit_(std::max(limit, duration::zero())),
      where_(where),
      waited_for_(std::make_shared<const std::string>(std::move(waited_for))) {}

std::optional<time_point> current_deadline() noexcept {
  return detail::frame::ambient_here().deadline;
}

namespace detail {

std::exception_ptr timed_out_of(const frame& waiter, const frame& work, duration limit) noexcept {
  try {
    limit_writer tree;
    work.describe(tree);
    throw timed_out(limit, waiter.users_place(), std::move(tree.text), tree.line);
  } catch (...) {
    return std::current_exception();
  }
}

bool time_limit::begin(timer_node& timer) {
  if (!absolute_) {
    timer.set_after(length_);
    return length_ <= duration::zero();
  }
  const time_point when{length_};
  timer.set(when);
  length_ = between(timer.loop().now(), when);
  absolute_ = false;
  return length_ <= duration::zero();
}

}  // namespace detail

}  // namespace eddy
