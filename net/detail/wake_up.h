// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <string>

#include <eddy/future/adapt.h>

namespace eddy::detail {

/// Lets one coroutine wait until a callback has noted that something happened.
class wake_up {
public:
  wake_up() noexcept = default;
  wake_up(const wake_up&) = delete;
  wake_up& operator=(const wake_up&) = delete;

  /// Has the loop resume the coroutine: the one that waits, or the next one that would wait.
  void note() {
    if (!waiter_) {
      noted_ = true;
      return;
    }
    const completer<> done = *waiter_;
    waiter_.reset();
    done();
  }

  /// How a wait is cancelled.
  struct forget {
    void operator()() const noexcept { which->waiter_.reset(); }
    wake_up* which;
  };

  void begin(completer<> done) {
    waiter_ = done;
    if (!noted_) return;
    noted_ = false;
    note();
  }

private:
  bool noted_ = false;
  std::optional<completer<>> waiter_;
};

/// The start of a wait, for `adapt`. `owner.describe()` says in a dump what is waited for.
template <class Owner>
class wake_up_wait {
public:
  wake_up_wait(wake_up& which, const Owner& owner) noexcept : which_(&which), owner_(&owner) {}

  wake_up::forget operator()(completer<> done) {
    which_->begin(done);
    return {which_};
  }
  [[nodiscard]] std::string describe() const { return owner_->describe(); }

private:
  wake_up* which_;
  const Owner* owner_;
};

}  // namespace eddy::detail
