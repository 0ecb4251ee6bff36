// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_stream.h>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/unix_names.h>
#include <eddy/net/detail/unix_pair.h>

namespace eddy {

using detail::callback_operation;
using detail::once;

unix_stream::unix_stream(event_loop& loop, int descriptor)
    : socket_stream(detail::expect_connected(
          loop, detail::adopt_unix(descriptor, SOCK_STREAM, "a unix_stream"), "a unix_stream")) {}

void unix_stream::send_descriptors(const_buffer bytes, std::span<const int> descriptors,
                                   handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "unix_stream::send_descriptors");
  using call = detail::send_descriptors_call;
  callback_operation<call>::start(socket(), call(bytes, descriptors), std::move(on_sent));
}

std::optional<result<std::size_t>> unix_stream::try_send_descriptors(
    const_buffer bytes, std::span<const int> descriptors) {
  return once(socket(), detail::send_some_descriptors_call(bytes, descriptors));
}

void unix_stream::receive_descriptors(mutable_buffer into, std::span<unique_descriptor> slots,
                                      handler<void(result<received_bytes>)> on_received) {
  detail::expect_handler(on_received, "unix_stream::receive_descriptors");
  using call = detail::receive_descriptors_call;
  callback_operation<call>::start(socket(), call(into, slots), std::move(on_received));
}

std::optional<result<received_bytes>> unix_stream::try_receive_descriptors(
    mutable_buffer into, std::span<unique_descriptor> slots) {
  return once(socket(), detail::receive_descriptors_call(into, slots));
}

unix_address unix_stream::peer_address() const { return detail::peer_unix_name(descriptor()); }

unix_address unix_stream::local_address() const { return detail::local_unix_name(descriptor()); }

unix_credentials unix_stream::peer_credentials() const {
  return detail::peer_credentials(descriptor());
}

unique_descriptor unix_stream::peer_pidfd() const { return detail::peer_pidfd(descriptor()); }

std::pair<unix_stream, unix_stream> socket_pair(event_loop& loop) {
  auto [near, far] = detail::unix_pair(loop, SOCK_STREAM, true);
  return {detail::stream_access::make<unix_stream>(std::move(near)),
          detail::stream_access::make<unix_stream>(std::move(far))};
}

}  // namespace eddy
