// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include <sys/types.h>

#include <eddy/testing/detail/simulated_context.h>
#include <eddy/testing/detail/simulated_socket.h>
#include <eddy/testing/detail/simulated_wire.h>

namespace eddy::detail {

/// The calls on connected sockets, of TCP and Unix alike, and what arrives at them.
///
/// As in the kernel, a call returns a negative `errno` if it fails.
class simulated_streams {
public:
  simulated_streams(simulated_context& context, simulated_wire& wire) noexcept
      : context_(context), wire_(wire) {}
  simulated_streams(const simulated_streams&) = delete;
  simulated_streams& operator=(const simulated_streams&) = delete;

  [[nodiscard]] static bool readable(const simulated_socket& socket) noexcept;
  [[nodiscard]] static bool writable(const simulated_socket& socket) noexcept;

  /// The number of bytes that the next write can take.
  [[nodiscard]] static std::size_t space(const simulated_socket& socket) noexcept;

  ssize_t read(simulated_socket& socket, char* data, std::size_t size, bool keeps);
  ssize_t write(simulated_socket& socket, std::string_view bytes);
  int shutdown(simulated_socket& socket, int how);
  void close(simulated_socket& socket);
  /// Returns the pending error and clears it: SO_ERROR.
  static int take_error(simulated_socket& socket) noexcept;

  /// Takes a packet of an established connection.
  void arrive(const simulated_packet& packet);
  /// Fails an end of a connection.
  void fail(simulated_end& end, int error);
  /// Resets a connection for both ends.
  void cut(simulated_connection& connection);

  /// Makes `socket` the end `side` of `connection`.
  static void attach(simulated_socket& socket, std::shared_ptr<simulated_connection> connection,
                     unsigned side) noexcept;

private:
  void send(simulated_socket& from, simulated_packet::kind what, std::string_view bytes = {},
            std::size_t count = 0);
  void tell(const simulated_end& end) noexcept;

  simulated_context& context_;
  simulated_wire& wire_;
};

}  // namespace eddy::detail
