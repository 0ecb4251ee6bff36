// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/timer_node.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/received_message.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>

namespace eddy::detail {

// The calls on Unix sockets that a TCP stream does not have: each is a `socket_call`.

/// Reads bytes of a stream, and the descriptors that came with them.
class receive_descriptors_call : public reading_call {
public:
  using value = received_bytes;
  static constexpr const char* name = "receive descriptors from";

  receive_descriptors_call(mutable_buffer into, std::span<unique_descriptor> slots) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return got_; }

private:
  mutable_buffer into_;
  std::span<unique_descriptor> slots_;
  received_bytes got_;
};

/// Sends descriptors with the first of some bytes, and as many bytes as the kernel has space for.
class send_some_descriptors_call : public writing_call {
public:
  using value = std::size_t;

  send_some_descriptors_call(const_buffer bytes, std::span<const int> descriptors) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return sent_; }

private:
  const_buffer bytes_;
  std::span<const int> descriptors_;
  std::size_t sent_ = 0;
};

/// Sends descriptors with the first of some bytes, and all these bytes.
class send_descriptors_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "send descriptors to";
  static constexpr const char* busy = writing_call::busy;
  static constexpr bool tries = true;
  static constexpr int after_shutdown = EPIPE;

  send_descriptors_call(const_buffer bytes, std::span<const int> descriptors) noexcept
      : first_(bytes, descriptors), bytes_(bytes), rest_(const_buffer()) {}
  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}

private:
  send_some_descriptors_call first_;
  const_buffer bytes_;
  bool sent_ = false;  // the descriptors
  write_call rest_;
};

/// Receives one message.
class receive_message_call {
public:
  using value = received_message;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "receive from";
  static constexpr const char* busy = "a receive is already pending on this socket";
  static constexpr bool tries = true;

  receive_message_call(mutable_buffer into, std::span<unique_descriptor> slots) noexcept
      : into_(into), slots_(slots) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return got_; }

private:
  mutable_buffer into_;
  std::span<unique_descriptor> slots_;
  received_message got_;
};

/// Sends one message to the peer.
class send_message_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "send to";
  static constexpr const char* busy = "a send is already pending on this socket";
  static constexpr bool tries = true;
  static constexpr int after_shutdown = EPIPE;

  send_message_call(const_buffer bytes, std::span<const int> descriptors) noexcept
      : bytes_(bytes), descriptors_(descriptors) {}
  std::optional<int> attempt(open_socket& socket) { return attempt_to(socket, unix_address()); }
  void take() const noexcept {}

protected:
  std::optional<int> attempt_to(open_socket& socket, const unix_address& to);

private:
  const_buffer bytes_;
  std::span<const int> descriptors_;
};

/// Sends one message to an address: a `pausing_call`.
///
/// The kernel does not report when the queue of a receiver that this socket is not connected to has
/// space again: it always reports the sender as ready. The call therefore tries again at times.
class send_to_call : public send_message_call {
public:
  static constexpr const char* name = "send a message from";

  send_to_call(const_buffer bytes, std::span<const int> descriptors,
               const unix_address& to) noexcept
      : send_message_call(bytes, descriptors), to_(to) {}
  /// Moves a call that does not pause.
  send_to_call(send_to_call&& other) noexcept : send_message_call(other), to_(other.to_) {}
  send_to_call& operator=(send_to_call&&) = delete;

  std::optional<int> attempt(open_socket& socket);
  void wait(open_socket& socket, operation& op) noexcept;
  void cancelled() noexcept { pause_.reset(); }

private:
  struct pause : timer_node {
    pause(open_socket& s, event_loop& loop) noexcept;
    open_socket& socket;
  };

  // The first pause, and the longest: each is twice as long as the one before. A receiver that is
  // busy for a moment costs little time, and one that hangs costs 20 system calls a second.
  static constexpr std::chrono::milliseconds first_pause{1};
  static constexpr std::chrono::milliseconds longest_pause{50};

  unix_address to_;
  std::chrono::milliseconds next_pause_ = first_pause;
  bool full_ = false;  // the receiver's queue
  std::optional<pause> pause_;
};

}  // namespace eddy::detail
