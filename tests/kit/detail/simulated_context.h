// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/text.h>
#include <eddy/testing/simulated_network.h>

namespace eddy::detail {

struct simulated_socket;

/// The time, the random choices and the trace, which all parts of a simulated network share.
class simulated_context {
public:
  simulated_context(event_loop& loop, const simulated_network_options& how);
  simulated_context(const simulated_context&) = delete;
  simulated_context& operator=(const simulated_context&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] const simulated_network_options& options() const noexcept { return options_; }
  [[nodiscard]] time_point now() const noexcept;

  [[nodiscard]] std::uint64_t random() noexcept;
  /// A random number below `end`, which is not zero.
  [[nodiscard]] std::uint64_t below(std::uint64_t end) noexcept { return random() % end; }
  [[nodiscard]] bool chance(double probability) noexcept;
  /// The time that the next packet travels.
  [[nodiscard]] duration delay() noexcept;

  /// Adds a line to the trace.
  void note(std::initializer_list<piece> words);
  [[nodiscard]] std::string trace() const;

  /// Called when a socket may have become ready.
  virtual void changed(const simulated_socket& socket) noexcept = 0;

protected:
  ~simulated_context() = default;

private:
  event_loop& loop_;
  const simulated_network_options options_;
  const time_point begun_;
  std::uint64_t state_;  // of the random numbers
  std::deque<std::string> lines_;
};

}  // namespace eddy::detail
