// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/datagram_socket.h>

#include <array>
#include <cstring>
#include <ctime>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

struct queued_error {
  sock_extended_err error{};
  address reporter;
};

/// The error in an entry of the error queue; an entry of another kind has the origin 0.
queued_error read_entry(msghdr& message) noexcept {
  queued_error found;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(sizeof(sock_extended_err))) continue;
    std::memcpy(&found.error, CMSG_DATA(c), sizeof found.error);
    const std::size_t rest = c->cmsg_len - CMSG_LEN(sizeof found.error);
    alignas(sockaddr_in6) std::array<unsigned char, sizeof(sockaddr_in6)> name{};
    const std::size_t size = rest < name.size() ? rest : name.size();
    std::memcpy(name.data(), CMSG_DATA(c) + sizeof found.error, size);
    found.reporter = address::from(reinterpret_cast<const sockaddr*>(name.data()), size);
  }
  return found;
}

}  // namespace

datagram_socket::datagram_socket(event_loop& loop, int descriptor, const address& name,
                                 const state& how)
    : socket_(open_socket::make(loop, descriptor, name)), how_(how) {
  if (how.icmp_errors) socket_->keep_errors();
}

datagram_socket::~datagram_socket() {
  socket_->close();
  socket_->release();
}

int datagram_socket::take_icmp() noexcept {
  constexpr int most = 64;  // entries of other kinds; if there are more, the socket is ready again
  for (int i = 0; i < most; ++i) {
    sockaddr_in6 name{};
    alignas(cmsghdr) std::array<unsigned char, 512> control;
    msghdr message{};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = uninterrupted([&] {
      return os().receive_message(socket_->descriptor(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    });
    if (n < 0) return 0;
    const queued_error found = read_entry(message);
    const bool v6 = found.error.ee_origin == SO_EE_ORIGIN_ICMP6;
    // The send that caused a local error has reported it.
    if ((!v6 && found.error.ee_origin != SO_EE_ORIGIN_ICMP) || found.error.ee_errno == 0) continue;
    const int error = static_cast<int>(found.error.ee_errno);
    icmp_ = icmp_error{
        .error = std::error_code(error, std::generic_category()),
        .unreachable = address::from(reinterpret_cast<const sockaddr*>(&name), message.msg_namelen),
        .reporter = found.reporter,
        .v6 = v6,
        .type = found.error.ee_type,
        .code = found.error.ee_code,
        .path_mtu = error == EMSGSIZE ? found.error.ee_info : 0,
    };
    return error;
  }
  return 0;
}

}  // namespace eddy::detail

namespace eddy {

std::string icmp_error::to_string() const {
  return detail::text({unreachable.to_string(), " is unreachable (ICMP", v6 ? "v6" : "", " type ",
                       type, ", code ", code, ", from ", reporter.host(), ")"});
}

}  // namespace eddy
