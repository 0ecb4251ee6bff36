// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <eddy/future/task.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/tls/detail/tls_connection.h>
#include <eddy/net/tls/tls_certificate.h>
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_error.h>

namespace eddy {

/// A TLS connection over any stream of bytes. `tls_connect` and `tls_accept` make it.
///
/// It is a `byte_stream` itself, and reads and writes as one:
/// <eddy/net/tls/detail/tls_connection.h> documents `read`, `write`, `shutdown` and the other
/// members, which do not depend on the type of the stream below.
///
/// The versions are 1.2 and 1.3. Renegotiation is refused. The peer may renew its keys, at most 32
/// times in a row without data; this end renews its own after 2^23 records.
///
/// The kernel's TLS (kTLS) is not used: OpenSSL sets it up and drives it only through a socket of
/// its own, with system calls that eddy could neither await nor test.
///
/// Memory: OpenSSL keeps some 40 KiB for a connection. Over a stream that is no socket, eddy keeps
/// 17 KiB for bytes that arrive, and up to 33 KiB for bytes that leave. If a peer asks for answers
/// and does not take them, reads wait while more than 64 KiB of bytes wait to leave.
template <byte_stream Stream>
class tls_stream : public detail::tls_connection {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  tls_stream() noexcept = default;

  /// The stream below. Bytes that are read from it or written to it directly break the connection.
  /// After it was closed, operations of the connection fail with `operation_canceled`.
  [[nodiscard]] Stream& stream() noexcept {
    return static_cast<detail::tls_over<Stream>&>(state()).stream;
  }

private:
  friend class detail::tls_over<Stream>;

  explicit tls_stream(detail::tls_share over) noexcept : tls_connection(std::move(over)) {}
};

namespace detail {
/// The handler of a handshake, from which the compiler does not deduce `Stream`.
template <class Stream>
using tls_handler = std::type_identity_t<handler<void(result<tls_stream<Stream>>)>>;
}  // namespace detail

/// Makes the TLS handshake of a client over a stream. The handshake starts when it is awaited.
///
///     tls_stream secure = co_await tls_connect(context, std::move(stream), "example.org");
///
/// `host` is the name or the address for which the server's certificate must hold. A name consists
/// of labels of 1 to 63 letters, digits, `-` and `_`, and has at most 253 bytes; write other
/// letters in the form `xn--…` (A-label). An IPv6 address may stand in brackets, as in a URL, and
/// may have a scope, which does not count: `::1`, `[::1]`, `fe80::1%eth0`, `[fe80::1%eth0]`. There
/// is no time limit; `timeout` sets one.
///
/// Errors: `std::system_error` with a `tls_error`, or an error of the stream. `invalid_argument` if
/// `host` is neither a name nor an address. The text names the host, and the subject and issuer of
/// a certificate that does not hold. `std::bad_alloc`. A failed handshake closes the stream, after
/// an alert to the peer, if that speaks TLS.
/// Lifetime: the connection keeps what it needs of `context`.
/// Cancelling: destroying the awaiting coroutine closes the stream.
template <byte_stream Stream>
detail::steps_operation<tls_stream<Stream>> tls_connect(const tls_client_context& context,
                                                        Stream stream, std::string host);
/// Makes the TLS handshake of a client over a stream, on the loop of that stream, and calls
/// `on_connected` with the connection or an error.
///
/// `host` is the name or the address for which the server's certificate must hold. There is no time
/// limit.
///
/// Errors: the handler gets a `tls_error`, an error of the stream, `invalid_argument` for an
/// impossible `host`, or `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes the stream and destroys the
/// handler.
template <byte_stream Stream>
pending_operation tls_connect(const tls_client_context& context, Stream stream, std::string host,
                              detail::tls_handler<Stream> on_connected);

/// Makes the TLS handshake of a server over a stream. The handshake starts when it is awaited.
///
///     tls_stream secure = co_await tls_accept(context, std::move(stream));
///
/// There is no time limit, so a silent client would hold the connection for ever: set one with
/// `timeout`.
///
/// Errors: `std::system_error` with a `tls_error`, or an error of the stream. The text names the
/// peer, and the subject and issuer of a certificate that does not hold. `std::bad_alloc`. A failed
/// handshake closes the stream, after an alert to the peer, if that speaks TLS.
/// Lifetime: the connection keeps what it needs of `context`.
/// Cancelling: destroying the awaiting coroutine closes the stream.
template <byte_stream Stream>
detail::steps_operation<tls_stream<Stream>> tls_accept(const tls_server_context& context,
                                                       Stream stream);
/// Makes the TLS handshake of a server over a stream, on the loop of that stream, and calls
/// `on_accepted` with the connection or an error. There is no time limit.
///
/// Errors: the handler gets a `tls_error`, an error of the stream, or `not_enough_memory`. The call
/// itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes the stream and destroys the
/// handler.
template <byte_stream Stream>
pending_operation tls_accept(const tls_server_context& context, Stream stream,
                             detail::tls_handler<Stream> on_accepted);

// implementation

namespace detail {

template <byte_stream Stream, class Context>
task<reported<tls_stream<Stream>>> tls_steps(const Context& context, Stream&& stream,
                                             std::string&& host) {
  tls_share made(new tls_over<Stream>(std::forward<Stream>(stream), tls_access::settings(context),
                                      std::move(host)));
  return tls_over<Stream>::template connect<tls_stream<Stream>>(std::move(made));
}

}  // namespace detail

template <byte_stream Stream>
detail::steps_operation<tls_stream<Stream>> tls_connect(const tls_client_context& context,
                                                        Stream stream, std::string host) {
  return detail::steps_operation<tls_stream<Stream>>(
      detail::tls_steps(context, std::move(stream), std::move(host)));
}

template <byte_stream Stream>
pending_operation tls_connect(const tls_client_context& context, Stream stream, std::string host,
                              detail::tls_handler<Stream> on_connected) {
  detail::expect_handler(on_connected, "tls_connect");
  event_loop& loop = stream.loop();
  return detail::delivery<tls_stream<Stream>>::start(
      loop, detail::tls_steps(context, std::move(stream), std::move(host)),
      std::move(on_connected));
}

template <byte_stream Stream>
detail::steps_operation<tls_stream<Stream>> tls_accept(const tls_server_context& context,
                                                       Stream stream) {
  return detail::steps_operation<tls_stream<Stream>>(
      detail::tls_steps(context, std::move(stream), std::string()));
}

template <byte_stream Stream>
pending_operation tls_accept(const tls_server_context& context, Stream stream,
                             detail::tls_handler<Stream> on_accepted) {
  detail::expect_handler(on_accepted, "tls_accept");
  event_loop& loop = stream.loop();
  return detail::delivery<tls_stream<Stream>>::start(
      loop, detail::tls_steps(context, std::move(stream), std::string()), std::move(on_accepted));
}

}  // namespace eddy
