// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/buffer.h>
#include <eddy/net/datagram.h>
#include <eddy/net/detail/datagram_calls.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/socket_options.h>

namespace eddy {

/// A UDP socket, which sends datagrams to any address, or only to one if it is connected.
///
///     udp_socket socket(loop, address::any_v4(53));
///     const datagram d = co_await socket.receive(buffer);
///     co_await socket.send(std::span(buffer).first(d.size), d.from);
///
/// Each operation has two forms. The form with a handler returns at once, and the loop calls the
/// handler later. The form without a handler is for `co_await`. Forms whose names begin with `try_`
/// never wait.
///
/// At most one receive and one send may be pending at a time; a second one aborts the program.
/// `wait_readable` counts as a receive, and `wait_writable` as a send.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the address. An error of one operation does not affect the next one.
/// ICMP errors: when a datagram cannot be delivered, an ICMP message may come back.
/// - By default, a socket that is not connected never reports them. A connected socket reports, as
///   the error of its next operation, that no socket has the port.
/// - With the option `icmp_errors`, each such message makes one receive fail, before or after the
///   datagrams that have already arrived, and no send fails because of a message. Then `last_icmp`
///   has the details, and it is empty if the receive failed for another reason. While no receive is
///   pending, a send that waits for space may drop the messages.
///
/// Lifetime: the loop must outlive the socket. Buffers and arrays must outlive their operation. The
/// socket may be moved while operations are pending.
/// Cancelling: closing or destroying the socket cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. Destroying an awaiting
/// coroutine cancels its operation. A cancelled receive loses no datagram: the next receive returns
/// it. A cancelled `send` has sent nothing; a cancelled `send_many` has sent an unknown number.
class udp_socket : public detail::with_options<udp_socket> {
public:
  /// A socket that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  udp_socket() noexcept;

  /// Binds a socket to `local`. Port 0 lets the system choose a free port; see `local_address`.
  ///
  /// The members of `how` that apply: `reuse_address`, `reuse_port`, `ipv6_only`, `device`, `mark`,
  /// `transparent`, `freebind`, the buffers, and those for datagram sockets.
  /// Errors: `std::system_error` whose text names the address, and the option if one was refused;
  /// `std::bad_alloc`.
  udp_socket(event_loop& loop, const address& local, const socket_options& how = socket_options());

  /// Makes a socket that is connected to `peer`: it receives from this peer only.
  ///
  /// The members of `how` that apply are those of a bound socket, and `local`.
  /// Errors: `std::system_error` whose text names the address, and the option if one was refused;
  /// `std::bad_alloc`.
  [[nodiscard]] static udp_socket connected(event_loop& loop, const address& peer,
                                            const socket_options& how = socket_options());

  /// Takes over a UDP socket, connected or not. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec. Its options stay as they are.
  /// Errors: `std::system_error`; `wrong_protocol_type` if it is no UDP socket; `std::bad_alloc`.
  udp_socket(event_loop& loop, int descriptor);

  udp_socket(udp_socket&&) noexcept;
  /// Closes this socket and takes over the other one.
  udp_socket& operator=(udp_socket&&) noexcept;
  /// Closes the socket.
  ~udp_socket();

  /// Receives one datagram, and returns its size, its sender and more.
  ///
  /// If no datagram is there, it waits for one. If the buffer is too small, the rest of the
  /// datagram is lost, and the result says so. A datagram of 0 bytes is no end: a UDP socket has
  /// none. Errors: `std::system_error`, also of ICMP. Cancelling: no datagram is lost; the next
  /// receive returns it.
  detail::operation_awaitable<detail::receive_call> receive(mutable_buffer into) {
    return {socket(), detail::receive_call(own(), into)};
  }
  /// Receives one datagram, as the awaited `receive` does, and calls `on_received` with its size,
  /// its sender and more, or an error. The buffer must outlive the operation.
  void receive(mutable_buffer into, handler<void(result<datagram>)> on_received);
  /// Receives one datagram without waiting; `std::nullopt` means that none is there.
  [[nodiscard]] std::optional<result<datagram>> try_receive(mutable_buffer into);

  /// Receives the datagrams that are there in one system call, and returns their number.
  ///
  /// It waits for the first datagram, and for no further one. The elements with the result's number
  /// are filled, in the order of arrival. The number is at most 64. An empty array aborts the
  /// program.
  /// Errors: `std::system_error`, also of ICMP; then no datagram was received.
  /// Lifetime: the array and its buffers must outlive the operation.
  /// Cancelling: no datagram is lost; the next receive returns it.
  detail::operation_awaitable<detail::receive_many_call> receive_many(
      std::span<incoming_datagram> into) {
    return {socket(), detail::receive_many_call(own(), into)};
  }
  /// Receives the datagrams that are there, as the awaited `receive_many` does, and calls
  /// `on_received` with their number or an error. The array and its buffers must outlive the
  /// operation.
  void receive_many(std::span<incoming_datagram> into,
                    handler<void(result<std::size_t>)> on_received);
  /// Receives up to 64 datagrams without waiting; `std::nullopt` means that none is there.
  [[nodiscard]] std::optional<result<std::size_t>> try_receive_many(
      std::span<incoming_datagram> into);

  /// Waits until a receive would not wait: there is a datagram or an error. A receive that starts
  /// during this wait aborts the program.
  detail::operation_awaitable<detail::wait_datagram_call<readiness::direction::read>>
  wait_readable() {
    return {socket(), {}};
  }
  /// Waits until a receive would not wait, and then calls `on_readable`. A receive that starts
  /// during this wait aborts the program.
  void wait_readable(handler<void(result<void>)> on_readable);

  /// Sends one datagram to `to`; with an empty address, to the peer of a connected socket.
  ///
  /// It waits if the kernel has no space for the datagram. Success means that the kernel has taken
  /// it; the network may still lose it. `from` chooses the source.
  /// Errors: `std::system_error`; `message_size` for over 65,507 bytes by IPv4 or 65,527 by IPv6;
  /// `destination_address_required` without any receiver.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: nothing was sent.
  detail::operation_awaitable<detail::send_call> send(const_buffer bytes, const address& to = {},
                                                      const datagram_source& from = {}) {
    return {socket(), detail::send_call(own(), outgoing_datagram(bytes, to, from))};
  }
  /// Sends the bytes of `what`: as one datagram, or cut into several by its `segment_size`. The
  /// bytes must outlive the operation.
  ///
  /// Errors: as for the other `send`; `invalid_argument` if the kernel cannot cut the bytes so.
  detail::operation_awaitable<detail::send_call> send(const outgoing_datagram& what) {
    return {socket(), detail::send_call(own(), what)};
  }
  /// Sends one datagram, as the awaited `send` does, and then calls `on_sent`. The bytes must
  /// outlive the operation.
  void send(const_buffer bytes, const address& to, handler<void(result<void>)> on_sent);
  /// Sends one datagram as `what` says, and then calls `on_sent`. The bytes must outlive the
  /// operation.
  void send(const outgoing_datagram& what, handler<void(result<void>)> on_sent);
  /// Does not compile: the handler form may send a temporary's bytes after it is destroyed.
  template <detail::temporary_bytes Bytes, class Handler>
    requires(!std::convertible_to<Handler, datagram_source>)
  void send(Bytes&&, const address&, Handler&&) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "a send with a handler outlives these bytes: keep them in a variable");
  }
  /// Sends one datagram without waiting; `std::nullopt` means that the kernel has no space.
  [[nodiscard]] std::optional<result<void>> try_send(const_buffer bytes, const address& to = {},
                                                     const datagram_source& from = {});
  /// Sends one datagram as `what` says, without waiting; `std::nullopt` means that the kernel has
  /// no space.
  [[nodiscard]] std::optional<result<void>> try_send(const outgoing_datagram& what);

  /// Sends several datagrams, up to 64 in each system call, and returns the number sent.
  ///
  /// It waits while the kernel has no space. The number is that of all, unless one datagram was
  /// refused: then it is the number of datagrams before that one. To learn the error, send the
  /// rest: a send whose first datagram is refused fails. Errors: `std::system_error` if the first
  /// datagram was refused. Lifetime: the array and the bytes must outlive the operation.
  /// Cancelling: an unknown number of datagrams has been sent.
  detail::operation_awaitable<detail::send_many_call> send_many(
      std::span<const outgoing_datagram> all) {
    return {socket(), detail::send_many_call(own(), all)};
  }
  /// Sends several datagrams, as the awaited `send_many` does, and calls `on_sent` with the number
  /// sent or an error. The array and the bytes must outlive the operation.
  void send_many(std::span<const outgoing_datagram> all,
                 handler<void(result<std::size_t>)> on_sent);
  /// Sends as many of the datagrams as the kernel has space for, and returns their number.
  ///
  /// `std::nullopt` means that the kernel has no space for the first one. The number may be smaller
  /// also because a datagram was refused, or the turn has used up its budget: send the rest.
  [[nodiscard]] std::optional<result<std::size_t>> try_send_many(
      std::span<const outgoing_datagram> all);

  /// Waits until a send would not wait. A send that starts during this wait aborts the program.
  detail::operation_awaitable<detail::wait_datagram_call<readiness::direction::write>>
  wait_writable() {
    return {socket(), {}};
  }
  /// Waits until a send would not wait, and then calls `on_writable`. A send that starts during
  /// this wait aborts the program.
  void wait_writable(handler<void(result<void>)> on_writable);

  /// Cancels the pending receive or `wait_readable`, if there is one.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. No datagram is lost.
  void stop_receiving() noexcept { socket().stop(readiness::direction::read); }
  /// Cancels the pending send or `wait_writable`, if there is one.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`.
  void stop_sending() noexcept { socket().stop(readiness::direction::write); }

  /// The ICMP error with which the last receive failed; empty if it did not fail, or for another
  /// reason. Needs the option `icmp_errors`.
  [[nodiscard]] const std::optional<icmp_error>& last_icmp() const noexcept {
    return own().last_icmp();
  }

  /// Connects the socket to `peer`: from now on it receives from this peer only. Datagrams of
  /// others that have already arrived are still received. Errors: `std::system_error` whose text
  /// names the address.
  void connect(const address& peer);
  /// Undoes `connect`: the socket receives from all senders again. It keeps its port, but not the
  /// local address that the connect chose.
  /// Errors: `std::system_error` whose text names the peer; `address_in_use` if another socket took
  /// a port that the system had chosen.
  void disconnect();

  /// Closes the socket and cancels pending operations. Does nothing if it is not open.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`.
  void close() noexcept;
  /// Gives the open socket to the caller, who has to close the returned descriptor. Pending
  /// operations are cancelled as by `close`.
  [[nodiscard]] int release() noexcept;
  /// Whether this owns an open socket: it was neither closed, released nor moved from.
  [[nodiscard]] bool open() const noexcept;

  /// The address of this end, with the port that the system chose.
  /// Errors: `std::system_error`.
  [[nodiscard]] address local_address() const;
  /// The address of the peer; empty if the socket is not connected.
  [[nodiscard]] address peer_address() const noexcept;

  // Multicast. An interface is the number that `if_nametoindex` gives; zero lets the kernel choose.

  /// Receives the datagrams that are sent to `group`, whose port is ignored, at an interface.
  ///
  /// From its first `join` on, a socket gets the datagrams of the groups that it has joined, and of
  /// no others. Before, a socket bound to the port at `0.0.0.0` or `::` gets those of every group
  /// that a socket of the machine has joined, as Linux does by itself.
  /// Errors: `std::system_error` whose text names the group; `address_in_use` if it has joined
  /// already.
  void join(const address& group, std::uint32_t interface = 0);
  /// Undoes a `join` of the same group and interface.
  /// Errors: `std::system_error` whose text names the group.
  void leave(const address& group, std::uint32_t interface = 0);
  /// Receives the datagrams that `source` sends to `group`, at an interface. May be called for
  /// several sources.
  /// Errors: `std::system_error` whose text names the group.
  void join_source(const address& group, const address& source, std::uint32_t interface = 0);
  /// Undoes a `join_source` with the same arguments.
  /// Errors: `std::system_error` whose text names the group.
  void leave_source(const address& group, const address& source, std::uint32_t interface = 0);

  /// Chooses the interface at which multicast datagrams are sent.
  /// Errors: `std::system_error`.
  void set_multicast_interface(std::uint32_t interface);
  /// Sets how many networks a multicast datagram may pass: 0 to 255, and 1 by default.
  /// Errors: `std::system_error`.
  void set_multicast_hops(int hops);
  /// Sets whether sockets of this machine receive the multicast datagrams sent here, too. They do
  /// by default.
  /// Errors: `std::system_error`.
  void set_multicast_loop(bool on);
  /// Sets how many networks a datagram to a single receiver may pass (TTL): 1 to 255.
  /// Errors: `std::system_error`.
  void set_hops(int hops);

  /// The descriptor of the socket, which this still owns.
  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return unchecked().socket().loop(); }

private:
  explicit udp_socket(std::unique_ptr<detail::datagram_socket> own) noexcept;

  [[nodiscard]] detail::datagram_socket& unchecked() const noexcept {
    if (own_ == nullptr) not_open();
    return *own_;
  }
  [[nodiscard]] detail::datagram_socket& own() const noexcept {
    detail::datagram_socket& all = unchecked();
    all.socket().loop().check_thread();
    return all;
  }
  [[nodiscard]] detail::open_socket& socket() const noexcept { return own().socket(); }
  [[noreturn]] static void not_open() noexcept;

  /// Gets no datagrams of groups that only other sockets have joined.
  void hear_only_joined(const char* doing);
  void change_group(int option, const address& group, std::uint32_t interface, const char* doing);
  void change_source(int option, const address& group, const address& source,
                     std::uint32_t interface, const char* doing);
  void set_both(int v4_option, int v6_option, int value, const char* doing);

  std::unique_ptr<detail::datagram_socket> own_;  // null if this is not open
};

}  // namespace eddy
