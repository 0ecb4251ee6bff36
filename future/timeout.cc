// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/timeout.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include <eddy/future/detail/await_place.h>
#include <eddy/loop/detail/description.h>
#include <eddy/loop/detail/text.h>

namespace eddy {

namespace {

/// Puts the lines of a tree into one: "a at x.cc:1: a task > b at x.cc:2: yield".
std::string in_one_line(std::string_view tree) {
  std::string line;
  std::size_t depth_before = 0;
  while (!tree.empty()) {
    const std::size_t end = std::min(tree.find('\n'), tree.size());
    const std::size_t depth = std::min(tree.find_first_not_of(' '), end);
    if (!line.empty()) line += depth > depth_before ? " > " : " | ";
    line += tree.substr(depth, end - depth);
    depth_before = depth;
    tree.remove_prefix(std::min(end + 1, tree.size()));
  }
  constexpr std::size_t most = 4096;
  if (line.size() > most) line.replace(most, std::string::npos, " ...");
  return line;
}

std::string words(duration limit, const std::source_location& where, const std::string& tree) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  std::string all = detail::text({"not done within ", ms, " ms"});
  if (where.line() != 0 && detail::is_the_users(where)) {
    all += ", the limit of ";
    detail::add_place(all, where);
  }
  if (!tree.empty()) detail::add_text(all, {"; it waited in ", in_one_line(tree)});
  return all;
}

}  // namespace

timed_out::timed_out(duration limit, std::source_location where, std::string waited_for)
    : std::system_error(std::make_error_code(std::errc::timed_out),
                        words(std::max(limit, duration::zero()), where, waited_for)),
      limit_(std::max(limit, duration::zero())),
      where_(where),
      waited_for_(std::make_shared<const std::string>(std::move(waited_for))) {}

std::optional<time_point> current_deadline() noexcept {
  return detail::frame::ambient_here().deadline;
}

namespace detail {

std::exception_ptr timed_out_of(const frame& waiter, const frame& work, duration limit) noexcept {
  try {
    std::string tree;
    begin_description();
    work.describe(tree, 0);
    throw timed_out(limit, waiter.users_place(), std::move(tree));
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
