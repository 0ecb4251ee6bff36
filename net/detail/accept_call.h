// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <utility>

#include <eddy/net/detail/open_socket.h>
#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

class listening_socket;

/// Accepts a connection: a `pausing_call`, because its listener can pause.
///
/// Lifetime: the listener's end closes the socket, and then none of these functions is called.
class accept_call {
public:
  using value = tcp_stream;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "accept at";
  static constexpr const char* busy = "an accept is already pending on this tcp_listener";
  static constexpr bool tries = true;

  explicit accept_call(listening_socket& listener) noexcept : listener_(&listener) {}

  /// Starts a pause if the system is short of descriptors or memory.
  std::optional<int> attempt(open_socket& socket);
  /// Reports such a shortage as an error instead.
  std::optional<int> attempt_without_pause(open_socket& socket);
  [[nodiscard]] value take() noexcept { return std::move(accepted_); }

  /// Has the loop attempt `op` when the socket is ready, or when the pause ends.
  void wait(open_socket& socket, operation& op) noexcept;
  /// Ends the pause of an accept that was cancelled.
  void cancelled() noexcept;

private:
  listening_socket* listener_;
  tcp_stream accepted_;
};

}  // namespace eddy::detail
