// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <expected>
#include <string>
#include <system_error>

#include <eddy/net/address.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/socket_options.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

/// A socket that was told to connect.
struct tcp_attempt {
  stream_socket socket;
  bool under_way = false;  // false: it is connected already
};

/// The reason why a connect failed: an error, and the name of the option that was refused, or null.
struct failed_attempt {
  explicit failed_attempt(std::error_code e, const char* o = nullptr) noexcept
      : error(e), option(o) {}

  std::error_code error;
  const char* option;
};

/// Makes a socket and starts to connect it.
/// Errors: `std::bad_alloc`.
[[nodiscard]] std::expected<tcp_attempt, failed_attempt> begin_connect(event_loop& loop,
                                                                       const address& to,
                                                                       const socket_options& how);

/// Checks a socket whose connect has completed: whether it is connected to itself. That happens to
/// a connect to a local port without a listener, if the kernel chooses the same port for this end.
/// Has the kernel free the port of such a socket as soon as it is closed, instead of after a
/// minute.
[[nodiscard]] bool met_itself(const open_socket& socket);

/// "127.0.0.1:80", or "127.0.0.1:80, option mark".
[[nodiscard, gnu::cold]] std::string words_of_attempt(const address& to, const char* option);

}  // namespace eddy::detail
