// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/inherited.h>

#include <unordered_map>

#include <eddy/future/detail/frame.h>

namespace eddy::detail {

namespace {

class table_of_thread final : public inheritance {
public:
  table_of_thread() noexcept { frames_here.inherited = this; }
  table_of_thread(const table_of_thread&) = delete;
  table_of_thread& operator=(const table_of_thread&) = delete;
  ~table_of_thread() { frames_here.inherited = nullptr; }

  bool inherit(const future_core& by) override {
    local_values values = local_values::here();
    return values && values_.try_emplace(&by, std::move(values)).second;
  }
  [[nodiscard]] const local_values& of(const future_core& which) const noexcept override {
    static const local_values none;
    const auto found = values_.find(&which);
    return found == values_.end() ? none : found->second;
  }
  void forget(const future_core& which) noexcept override { values_.erase(&which); }

private:
  std::unordered_map<const future_core*, local_values> values_;
};

}  // namespace

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

local_values local_values::here() noexcept { return frame::ambient_here().values(); }

const local_base* local_values::find(const void* name) const noexcept {
  const local_base* b = newest_;
  while (b != nullptr && b->name_ != name) b = b->before_.newest_;
  return b;
}

local_base::local_base(const void* name) : name_(name), before_(local_values::here()) {
  static thread_local table_of_thread table;
}

}  // namespace eddy::detail
