// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <system_error>

#include <ev.h>
#include <sys/types.h>

#include <eddy/loop/detail/link.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

class engine;

/// One descriptor that is watched: at most one who waits to read, one to write.
///
/// libev's watcher is left started when a wait has ended, because the next wait
/// usually follows: only an event that nobody waits for stops it.
struct watch : private link {
  watch(engine& e, int descriptor);
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch();

  /// Queues `node` when `direction` (EV_READ or EV_WRITE) is ready, or at once
  /// if the watch has failed.
  void wait(int direction, ready_node& node);
  /// Ends the wait without a call.
  void forget(int direction) noexcept;
  /// Whether a wait keeps the loop running.
  void set_background(bool on) noexcept;

  [[nodiscard]] ready_node*& waiter(int direction) noexcept {
    return waiters[direction == EV_WRITE ? 1 : 0];
  }

  ev_io io;
  engine* owner;
  std::array<ready_node*, 2> waiters{};
  watch* same_descriptor = nullptr;  // the next one in the engine's table
  dev_t device;
  ino_t inode;
  bool anonymous;  // an epoll descriptor, perhaps: those can be refused later
  bool background = false;
  std::error_code error;

private:
  friend class engine;
  void set_mask(int mask) noexcept;
  void check_others() noexcept;
  void fail(std::error_code why) noexcept;
};

/// Why the kernel would not watch `descriptor` in the set `epoll`; nothing if it
/// would, or does.
[[nodiscard]] std::error_code refusal(int epoll, int descriptor) noexcept;

}  // namespace eddy::detail
