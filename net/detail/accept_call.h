// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <utility>

#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

class listening_socket;

/// Accepts a connection, whatever its kind.
///
/// Lifetime: the listener's end closes the socket, and then none of these functions is called.
class accept_steps {
public:
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "accept at";
  static constexpr const char* busy = "an accept is already pending on this listener";
  static constexpr bool tries = true;

  explicit accept_steps(listening_socket& listener) noexcept : listener_(&listener) {}

  /// Starts a pause if the system is short of descriptors or memory, or sheds connections.
  std::optional<int> attempt(open_socket& socket);
  /// Reports such a shortage as an error instead.
  std::optional<int> attempt_without_pause(open_socket& socket);

  /// Has the loop attempt `op` when the socket is ready, or when the pause ends.
  void wait(open_socket& socket, operation& op) noexcept;
  /// Ends the pause of an accept that was cancelled.
  void cancelled() noexcept;

protected:
  stream_socket accepted_;

private:
  /// Accepts connections and closes them, until none is queued or others must run.
  std::optional<int> shed(open_socket& socket);

  listening_socket* listener_;
};

/// Accepts a connection as a `Stream`: a `pausing_call`, because its listener can pause.
template <class Stream>
class basic_accept_call : public accept_steps {
public:
  using value = Stream;

  using accept_steps::accept_steps;
  [[nodiscard]] value take() noexcept { return stream_access::make<Stream>(std::move(accepted_)); }
};

using accept_call = basic_accept_call<tcp_stream>;

}  // namespace eddy::detail
