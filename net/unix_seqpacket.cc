// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_seqpacket.h>

#include <sys/socket.h>

#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/unix_names.h>
#include <eddy/net/detail/unix_pair.h>

namespace eddy {

unix_seqpacket::unix_seqpacket(event_loop& loop, int descriptor)
    : unix_message_socket(detail::expect_connected(
          loop, detail::adopt_unix(descriptor, SOCK_SEQPACKET, "a unix_seqpacket"),
          "a unix_seqpacket")) {}

unix_credentials unix_seqpacket::peer_credentials() const {
  return detail::peer_credentials(descriptor());
}

unique_descriptor unix_seqpacket::peer_pidfd() const { return detail::peer_pidfd(descriptor()); }

std::pair<unix_seqpacket, unix_seqpacket> seqpacket_pair(event_loop& loop) {
  auto [near, far] = detail::unix_pair(loop, SOCK_SEQPACKET, true);
  return {detail::stream_access::make<unix_seqpacket>(std::move(near)),
          detail::stream_access::make<unix_seqpacket>(std::move(far))};
}

}  // namespace eddy
