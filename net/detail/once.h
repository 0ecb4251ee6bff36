// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <system_error>
#include <type_traits>

#include <eddy/loop/result.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// Attempts a call once, for the forms that never wait.
template <class Call>
std::optional<result<typename Call::value>> once(detail::open_socket& socket, Call call) {
  if constexpr (Call::which == readiness::direction::write) {
    if (socket.shutdown_delayed())
      return std::unexpected(std::error_code(Call::after_shutdown, std::generic_category()));
  }
  socket.expect_free(Call::which, Call::busy);
  const std::optional<int> outcome = call.attempt(socket);
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  if constexpr (std::is_void_v<typename Call::value>) {
    return result<void>();
  } else {
    return call.take();
  }
}

}  // namespace eddy::detail
