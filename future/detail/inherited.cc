// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/inherited.h>

#include <memory>
#include <unordered_map>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/loop/detail/optional_part.h>

namespace eddy::detail {

namespace {

/// What the tasks of a loop have inherited.
class table_of_loop final : public optional_part {
public:
  void renew(event_loop&) override {}

  std::unordered_map<const future_core*, local_values> values;
};

}  // namespace

bool task_values::inherit(const future_core& by) {
  local_values values = local_values::here();
  if (!values) return false;
  auto& part = by.loop().task_values_;
  if (!part) part = std::make_unique<table_of_loop>();
  return static_cast<table_of_loop&>(*part).values.try_emplace(&by, std::move(values)).second;
}

const local_values& task_values::of(const future_core& which) noexcept {
  return static_cast<table_of_loop&>(*which.loop().task_values_).values.find(&which)->second;
}

void task_values::forget(const future_core& which) noexcept {
  static_cast<table_of_loop&>(*which.loop().task_values_).values.erase(&which);
}

constinit std::atomic<bool> local_values::used_{false};

local_values::local_values(const local_values& other) noexcept : newest_(other.newest_) {
  if (newest_ != nullptr) ++newest_->shares_;
}

local_values::~local_values() {
  // Of a long list each owns the next: not by recursion.
  while (newest_ != nullptr && --newest_->shares_ == 0) {
    local_values before = std::move(newest_->before_);
    delete newest_;
    newest_ = std::exchange(before.newest_, nullptr);
  }
}

local_values local_values::here() noexcept { return frame::locals_here(); }

const local_base* local_values::find(const void* name) const noexcept {
  const local_base* b = newest_;
  while (b != nullptr && b->name_ != name) b = b->before_.newest_;
  return b;
}

local_base::local_base(const void* name) : name_(name), before_(local_values::here()) {
  local_values::used_.store(true, std::memory_order_relaxed);
}

}  // namespace eddy::detail
