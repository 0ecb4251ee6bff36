// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <utility>

#include <eddy/net/detail/open_socket.h>
#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

/// Takes a connection from a listening socket: a `socket_call`.
class accept_call {
public:
  using value = tcp_stream;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "accept at";
  static constexpr bool tries = true;

  accept_call() noexcept = default;

  /// Has the socket hold if the system is short of something.
  std::optional<int> attempt(open_socket& socket);
  /// Gives the error then.
  std::optional<int> attempt_without_hold(open_socket& socket);
  [[nodiscard]] value take() noexcept { return std::move(accepted_); }

private:
  tcp_stream accepted_;
};

}  // namespace eddy::detail
