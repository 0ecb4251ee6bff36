// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/task_local_values.h>

#include <memory>
#include <unordered_map>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_core.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/optional_part.h>

namespace eddy::detail {

namespace {

/// The inherited task_locals of a loop's tasks.
class table_of_loop final : public optional_part {
public:
  void renew(event_loop&) override {}

  std::unordered_map<const future_core*, local_values> values;
};

}  // namespace

bool task_values::inherit(const future_core& by) {
  local_values values = local_values::here();
  if (!values) return false;
  auto& part = loop_access(by.loop()).task_values();
  if (!part) part = std::make_unique<table_of_loop>();
  return static_cast<table_of_loop&>(*part).values.try_emplace(&by, std::move(values)).second;
}

const local_values& task_values::of(const future_core& which) noexcept {
  return static_cast<table_of_loop&>(*loop_access(which.loop()).task_values())
      .values.find(&which)
      ->second;
}

void task_values::forget(const future_core& which) noexcept {
  static_cast<table_of_loop&>(*loop_access(which.loop()).task_values()).values.erase(&which);
}

constinit std::atomic<bool> local_values::used_{false};

local_values local_values::here() noexcept { return frame::locals_here(); }

const local_base* local_values::find(const void* name) const noexcept {
  const local_base* b = newest_.get();
  while (b != nullptr && b->name_ != name) b = b->before_.get();
  return b;
}

local_base::local_base(const void* name) : name_(name), before_(local_values::here().newest_) {
  local_values::used_.store(true, std::memory_order_relaxed);
}

local_base::~local_base() {
  // Each value of a long list owns the next one: a loop, because recursion would overflow the
  // stack.
  while (before_ && before_.sole()) before_ = std::move(before_->before_);
}

}  // namespace eddy::detail
