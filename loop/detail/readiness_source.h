// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <unordered_map>

#include <eddy/loop/detail/watch.h>

namespace eddy {

class event_loop;

namespace detail {

/// Tells a loop the readiness of descriptors that the kernel does not know.
///
/// A stand-in for the kernel derives from this class, and gives its descriptors numbers from
/// `first_number` on. The loop asks the source about such a number, and never shows the number to
/// libev or to the kernel. Readiness has levels, as for the kernel: a wait for a descriptor that is
/// ready completes in the next turn.
///
/// A wait for such a descriptor is in the background, because only the source can complete it. The
/// source keeps the loop running, for example by a timer, while something is under way. So the loop
/// does not wait for ever for what cannot happen.
///
/// Lifetime: the loop must outlive the source. When the source is destroyed, the waits that are
/// left end with `bad_file_descriptor`.
class readiness_source {
public:
  using direction = watch::direction;

  /// No process has a descriptor of this number: the kernel's table for it would take 8 GiB.
  static constexpr int first_number = 1 << 30;
  [[nodiscard]] static constexpr bool owns(int descriptor) noexcept {
    return descriptor >= first_number;
  }

  readiness_source(const readiness_source&) = delete;
  readiness_source& operator=(const readiness_source&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }

protected:
  /// Becomes the source of `loop`. Aborts the program if `loop` has a source.
  explicit readiness_source(event_loop& loop) noexcept;
  ~readiness_source();

  /// Completes the waits for `descriptor`, which has become ready in the direction `which`.
  void became_ready(int descriptor, direction which) noexcept;
  /// Ends the waits for `descriptor`, which was closed, with `bad_file_descriptor`.
  void was_closed(int descriptor) noexcept;

private:
  friend class watch_set;

  [[nodiscard]] virtual bool is_open(int descriptor) const noexcept = 0;
  [[nodiscard]] virtual bool is_ready(int descriptor, direction which) const noexcept = 0;

  /// Errors: `std::bad_alloc`.
  void attach(watch& w);
  void detach(watch& w) noexcept;
  /// A node waits at `w` in the direction `which` from now on.
  void want(watch& w, direction which) noexcept;
  void complete(watch& w, direction which) noexcept;

  event_loop& loop_;
  std::unordered_map<int, io_watcher*> watches_;  // `next` leads to others of the same descriptor
};

}  // namespace detail

}  // namespace eddy
