// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/adopt.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

namespace {

const char* type_name(int type) noexcept {
  switch (type) {
    case SOCK_STREAM: return "a stream socket";
    case SOCK_DGRAM: return "a datagram socket";
    case SOCK_SEQPACKET: return "a seqpacket socket";
    case SOCK_RAW: return "a raw socket";
    default: return "a socket of another type";
  }
}

[[noreturn]] void refuse_adoption(int error, int descriptor, const char* as, const char* is = "") {
  throw_error(std::error_code(error, std::generic_category()),
              text({"take over descriptor ", descriptor, is, " as ", as}));
}

int option(int descriptor, int name, const char* as) {
  int value = 0;
  socklen_t size = sizeof value;
  if (os().get_option(descriptor, SOL_SOCKET, name, &value, &size) < 0) {
    refuse_adoption(errno, descriptor, as);
  }
  return value;
}

}  // namespace

socket_descriptor adopt(int descriptor, int type, const char* as) {
  socket_descriptor own(descriptor);
  if (os().set_non_blocking(descriptor) < 0) refuse_adoption(errno, descriptor, as);
  const int actual = option(descriptor, SO_TYPE, as);
  if (actual != type) {
    const std::string is = text({", ", type_name(actual), ","});
    refuse_adoption(EPROTOTYPE, descriptor, as, is.c_str());
  }
  return own;
}

socket_descriptor adopt_tcp(int descriptor, const char* as) {
  socket_descriptor own = adopt(descriptor, SOCK_STREAM, as);
  const int family = option(descriptor, SO_DOMAIN, as);
  if (family != AF_INET && family != AF_INET6) {
    refuse_adoption(EAFNOSUPPORT, descriptor, as,
                    family == AF_UNIX ? ", a Unix socket," : ", a socket of another family,");
  }
  return own;
}

socket_descriptor adopt_unix(int descriptor, int type, const char* as) {
  socket_descriptor own = adopt(descriptor, type, as);
  if (option(descriptor, SO_DOMAIN, as) != AF_UNIX) {
    refuse_adoption(EAFNOSUPPORT, descriptor, as, ", which is no Unix socket,");
  }
  return own;
}

stream_socket make_socket(event_loop& loop, socket_descriptor descriptor, const address& name,
                          bool counted) {
  stream_socket made(*open_socket::make(loop, descriptor.number(), name), counted);
  static_cast<void>(descriptor.release());  // the open socket's now
  return made;
}

stream_socket expect_connected(event_loop& loop, socket_descriptor own, const char* as) {
  sockaddr_storage name;
  socklen_t size = sizeof name;
  auto* const generic = reinterpret_cast<sockaddr*>(&name);
  if (os().peer_name(own.number(), generic, &size) < 0) refuse_adoption(errno, own.number(), as);
  return make_socket(loop, std::move(own), address::from(generic, size), true);
}

void expect_listening(int descriptor, const char* as) {
  if (option(descriptor, SO_ACCEPTCONN, as) != 0) return;
  refuse_adoption(EINVAL, descriptor, as, ", which does not listen,");
}

}  // namespace eddy::detail
