// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_message_socket.h>

namespace eddy {

namespace detail {
class socket_file;
struct stream_access;
}  // namespace detail

/// A Unix datagram socket: it sends messages to any address, and receives those sent to its own.
///
/// It sends and receives as a `unix_message_socket`, whose header documents `send`, `receive` and
/// the other operations. `send` needs `connect` first; `send_to` does not. A connected socket
/// receives messages of its peer only. Unlike a UDP datagram, a message is never lost on the way: a
/// sender waits while the receiver's queue is full. The queue has space for as many messages as
/// /proc/sys/net/unix/max_dgram_qlen says.
class unix_datagram : public unix_message_socket {
public:
  /// The choices of a datagram socket that binds its address.
  struct options {
    /// Replaces a socket file that was left behind, if no process has its socket open.
    ///
    /// Another file, a symbolic link, or a socket in use is never replaced. The stale file is first
    /// renamed to `.stale.PID.N` in the same directory, so the directory's path may have up to 90
    /// bytes.
    bool replace_stale = false;
    /// Removes the socket file when the socket is closed, if it is still the file that this socket
    /// made (device and inode). A process that was forked later does not remove it.
    bool remove_file = true;
    /// The permissions of the socket file, such as 0660. A process that may write to the file may
    /// send.
    ///
    /// There is no moment at which the file has more permissions than these. Without them, it has
    /// the permissions 0777 without the umask's.
    std::optional<unsigned> permissions = std::nullopt;
  };

  /// A socket that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  unix_datagram() noexcept;

  /// Makes a socket that is not bound. It can send, but nobody can answer.
  /// Errors: `std::system_error`; `std::bad_alloc`.
  explicit unix_datagram(event_loop& loop);
  /// Makes a socket that is bound to `local`. An unnamed address lets the system choose an abstract
  /// name; see `local_address`.
  /// Errors: `std::system_error` whose text names the address; `address_in_use` if the file exists;
  /// `std::bad_alloc`.
  unix_datagram(event_loop& loop, const unix_address& local)
      : unix_datagram(loop, local, options()) {}
  /// Makes a socket that is bound to `local`, with options.
  /// Errors: `std::system_error` whose text names the address; `address_in_use` if the file exists
  /// and was not replaced; `std::bad_alloc`.
  unix_datagram(event_loop& loop, const unix_address& local, const options& how);

  /// Takes over a socket. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec. A file is not removed at the end.
  /// Errors: `std::system_error`: `not_a_socket`, `wrong_protocol_type` for another type than
  /// SOCK_DGRAM, or `address_family_not_supported`; `std::bad_alloc`. The text names the kind of
  /// the descriptor.
  unix_datagram(event_loop& loop, int descriptor);

  unix_datagram(unix_datagram&&) noexcept;
  /// Closes this socket and takes over the other one.
  unix_datagram& operator=(unix_datagram&&) noexcept;
  /// Closes the socket.
  ~unix_datagram();

  /// Connects to `peer`, for `send`; or to nobody, if `peer` is unnamed. It does not wait. Messages
  /// of others that have not been received yet stay in the queue.
  /// Errors: `std::system_error` whose text names the address; `connection_refused` if nobody has
  /// bound it; `operation_not_permitted` if that socket is connected to another one.
  void connect(const unix_address& peer);

  /// Sends one message to `to`.
  ///
  /// It waits while the receiver's queue is full. The kernel does not report when that queue has
  /// space again, so this tries again after 1 ms, 2 ms, 4 ms and so on, at most 50 ms apart.
  /// Connect to a receiver that is often full: `send` waits without a timer.
  ///
  /// Errors: as for `send`; `connection_refused` if nobody has bound `to`;
  /// `no_such_file_or_directory`; `permission_denied`. The text names this socket, if it is bound.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: nothing was sent.
  detail::operation_awaitable<detail::send_to_call> send_to(const_buffer bytes,
                                                            const unix_address& to) {
    return {socket(), detail::send_to_call(bytes, {}, to)};
  }
  /// Sends one message to `to`, as the awaited `send_to` does, and then calls `on_sent`. The bytes
  /// must outlive the operation.
  void send_to(const_buffer bytes, const unix_address& to, handler<void(result<void>)> on_sent);
  /// Does not compile: the handler form would send a temporary's bytes after it is destroyed.
  template <detail::temporary_bytes Bytes, class Handler>
  void send_to(Bytes&&, const unix_address&, Handler&&) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "a send with a handler outlives these bytes: keep them in a variable");
  }
  /// Sends one message to `to` without waiting; `std::nullopt` means that its queue is full.
  [[nodiscard]] std::optional<result<void>> try_send_to(const_buffer bytes, const unix_address& to);

  /// Sends one message to `to`, as `send_to` does, with copies of descriptors.
  ///
  /// Errors: as for `send_to` and `send_descriptors`.
  /// Lifetime: the bytes, the list and the descriptors must outlive the operation.
  /// Cancelling: nothing was sent.
  detail::operation_awaitable<detail::send_to_call> send_descriptors_to(
      const_buffer bytes, std::span<const int> descriptors, const unix_address& to) {
    return {socket(), detail::send_to_call(bytes, descriptors, to)};
  }
  /// Sends one message with descriptors to `to`, as the awaited `send_descriptors_to` does, and
  /// then calls `on_sent`. The bytes, the list and the descriptors must outlive the operation.
  void send_descriptors_to(const_buffer bytes, std::span<const int> descriptors,
                           const unix_address& to, handler<void(result<void>)> on_sent);
  /// Sends one message with descriptors to `to` without waiting; `std::nullopt` means that its
  /// queue is full.
  [[nodiscard]] std::optional<result<void>> try_send_descriptors_to(
      const_buffer bytes, std::span<const int> descriptors, const unix_address& to);

  /// Removes the socket file, closes the socket and cancels pending operations. Does nothing if the
  /// socket is not open. A handler is destroyed and never called; an awaiting coroutine is resumed
  /// with `operation_canceled`.
  void close() noexcept;

  /// Gives up the descriptor and returns it: the caller closes it, and removes the file. The socket
  /// is not open then. Pending operations are cancelled as by `close`.
  [[nodiscard]] int release() noexcept;

private:
  friend struct detail::stream_access;

  explicit unix_datagram(detail::stream_socket socket) noexcept;

  std::unique_ptr<detail::socket_file> file_;  // null if this made none
};

/// Makes two sockets on `loop` that are connected with each other.
/// Errors: `std::system_error`; `std::bad_alloc`.
[[nodiscard]] std::pair<unix_datagram, unix_datagram> datagram_pair(event_loop& loop);

}  // namespace eddy
