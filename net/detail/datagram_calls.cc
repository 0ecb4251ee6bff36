// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/datagram_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;

/// A datagram of several counts for the turn's budget as so many bytes: a quarter of an operation,
/// so that a full system call of small datagrams counts as 16 operations.
constexpr std::size_t charge_of_one = 512;

template <std::size_t Size>
struct control_bytes {
  alignas(cmsghdr) std::array<unsigned char, Size> bytes;
};

// Has space for the destination in both forms, the segment size, and what a program may have asked
// for besides.
using received_control = control_bytes<160>;
using sent_control = control_bytes<CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))>;

address::v6_bytes mapped(const address& v4) noexcept {
  address::v6_bytes bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  std::copy_n(v4.bytes().begin(), 4, bytes.begin() + 12);
  return bytes;
}

bool is_mapped(const address& a) noexcept {
  return a.is_v6() &&
         std::equal(a.bytes().begin(), a.bytes().begin() + 12, mapped(address::any_v4(0)).begin());
}

/// The IPv4 address of a v4 or mapped address.
in_addr v4_of(const address& a) noexcept {
  in_addr v4;
  std::memcpy(&v4, a.bytes().data() + (a.is_v6() ? 12 : 0), sizeof v4);
  return v4;
}

// Receiving.

void prepare(msghdr& message, iovec& part, std::byte* data, std::size_t size, sockaddr_in6& name,
             received_control& control) noexcept {
  part = {.iov_base = data, .iov_len = size};
  message = {};
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
}

/// Whether an address is valid on the link of one interface only.
bool needs_scope(const in6_addr& a) noexcept {
  return IN6_IS_ADDR_LINKLOCAL(&a) || IN6_IS_ADDR_MC_LINKLOCAL(&a) || IN6_IS_ADDR_MC_NODELOCAL(&a);
}

address converted(const in_addr& a, std::uint16_t port) noexcept {
  address::v4_bytes bytes;
  std::memcpy(bytes.data(), &a, bytes.size());
  return {bytes, port};
}

void set_destination(datagram& d, const in_pktinfo& info, std::uint16_t port) noexcept {
  const address source = converted(info.ipi_spec_dst, port);  // differs from a broadcast or group
  if (is_mapped(d.to)) {
    // A socket of both families gets this report besides that of IPv6, which has no such member.
    d.reply_source.from = address(mapped(source), port);
    return;
  }
  d.to = converted(info.ipi_addr, port);
  d.interface = static_cast<std::uint32_t>(info.ipi_ifindex);
  d.reply_source.from = source;
}

void set_destination(datagram& d, const in6_pktinfo& info, std::uint16_t port) noexcept {
  address::v6_bytes bytes;
  std::memcpy(bytes.data(), &info.ipi6_addr, bytes.size());
  d.interface = static_cast<std::uint32_t>(info.ipi6_ifindex);
  d.to = address(bytes, port, needs_scope(info.ipi6_addr) ? d.interface : 0);
  if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) {
    d.reply_source.interface = d.interface;
  } else {
    d.reply_source.from = d.to;
  }
}

/// Reads the report about a datagram of which the kernel has `whole` bytes.
datagram report(msghdr& message, std::size_t whole, std::uint16_t port) noexcept {
  datagram d;
  d.whole_size = whole;
  d.size = std::min(whole, message.msg_iov->iov_len);
  d.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  d.from = address::from(static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
  std::optional<in_pktinfo> v4;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const auto is = [&](int level, int type, std::size_t size) {
      return c->cmsg_level == level && c->cmsg_type == type && c->cmsg_len >= CMSG_LEN(size);
    };
    if (is(IPPROTO_IP, IP_PKTINFO, sizeof(in_pktinfo))) {
      v4.emplace();
      std::memcpy(&*v4, CMSG_DATA(c), sizeof *v4);
    } else if (is(IPPROTO_IPV6, IPV6_PKTINFO, sizeof(in6_pktinfo))) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      set_destination(d, info, port);
    } else if (is(IPPROTO_UDP, UDP_GRO, sizeof(int))) {
      int size = 0;
      std::memcpy(&size, CMSG_DATA(c), sizeof size);
      d.segment_size = static_cast<std::size_t>(std::max(size, 0));
    }
  }
  if (v4) set_destination(d, *v4, port);
  return d;
}

/// Returns the error of a receive whose system call failed, or `std::nullopt` if it has to wait.
/// Sets `icmp` if an ICMP error was the reason.
std::optional<int> receive_failed(open_socket& socket, datagram_socket& owner,
                                  bool& icmp) noexcept {
  const int error = errno;
  const bool nothing = would_block();
  if (owner.how().icmp_errors) {
    if (const int found = owner.take_icmp(); found != 0) {
      icmp = true;
      socket.set_exhausted(reading, false);
      return found;
    }
  }
  if (!nothing) return error;
  socket.found_nothing(reading);
  return std::nullopt;
}

std::string receiving(const open_socket& socket, const datagram_socket& owner, bool icmp) {
  // After the end of the owner, the socket is closed.
  const bool alive = !socket.closed();
  const char* const words = alive && owner.how().connected ? "receive from " : "receive at ";
  std::string doing = text({words, socket.name().to_string()});
  if (alive && icmp && owner.last_icmp()) add_text(doing, {": ", owner.last_icmp()->to_string()});
  return doing;
}

// Sending.

/// A message for the kernel about one datagram.
class message_of {
public:
  /// Returns an `errno`, or zero.
  int fill(msghdr& message, const outgoing_datagram& d, const datagram_socket& owner) noexcept {
    message = {};
    part_ = {.iov_base = const_cast<std::byte*>(d.bytes.data()), .iov_len = d.bytes.size()};
    message.msg_iov = &part_;
    message.msg_iovlen = 1;
    message.msg_namelen = d.to.to(name_);
    if (message.msg_namelen != 0) message.msg_name = &name_;
    const datagram_source& s = d.source;
    const bool has_source = s.interface != 0 || s.from != address();
    if (!has_source && d.segment_size == 0) return 0;
    message.msg_control = control_.bytes.data();
    if (has_source) {
      const address& to = d.to == address() ? owner.socket().name() : d.to;
      const bool v6 = owner.how().v6;
      if (const int error = v6 ? add_v6(message, s, to) : add_v4(message, s); error != 0) {
        return error;
      }
    }
    if (d.segment_size == 0) return 0;
    if (d.segment_size > UINT16_MAX) return EINVAL;
    add(message, IPPROTO_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(d.segment_size));
    return 0;
  }

private:
  static int add_v4(msghdr& message, const datagram_source& s) noexcept {
    if (s.from.is_v6() && !is_mapped(s.from)) return EAFNOSUPPORT;
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(s.interface);
    info.ipi_spec_dst = v4_of(s.from);
    add(message, IPPROTO_IP, IP_PKTINFO, info);
    return 0;
  }
  static int add_v6(msghdr& message, const datagram_source& s, const address& to) noexcept {
    in6_pktinfo info{};
    info.ipi6_ifindex = s.interface != 0 ? s.interface : s.from.scope();
    // By IPv4, the kernel takes no other source than a mapped one, and for that 0.0.0.0 is none.
    const address& family = s.from == address() ? to : s.from;
    const bool by_v4 = family.is_v4() || is_mapped(family);
    const address::v6_bytes bytes = by_v4 && !s.from.is_v6() ? mapped(s.from) : s.from.bytes();
    std::memcpy(&info.ipi6_addr, bytes.data(), bytes.size());
    add(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
    return 0;
  }
  template <class Value>
  static void add(msghdr& message, int level, int type, const Value& value) noexcept {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof value);
    header.cmsg_level = level;
    header.cmsg_type = type;
    auto* const at = static_cast<unsigned char*>(message.msg_control) + message.msg_controllen;
    std::memset(at, 0, CMSG_SPACE(sizeof value));
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + CMSG_LEN(0), &value, sizeof value);
    message.msg_controllen += CMSG_SPACE(sizeof value);
  }

  iovec part_;
  sockaddr_storage name_;
  sent_control control_;
};

/// Makes a system call that sends. A waiting ICMP error of an earlier datagram also makes such a
/// call fail. The error then stays in the error queue for the next receive, and the call is made
/// again.
template <class Call>
auto past_icmp(const datagram_socket& owner, Call call) {
  const auto n = uninterrupted(call);
  if (n >= 0 || would_block() || !owner.how().icmp_errors) return n;
  return uninterrupted(call);
}

std::string sending(const open_socket& socket, const address& to) {
  return text({"send to ", (to == address() ? socket.name() : to).to_string()});
}

}  // namespace

std::optional<int> receive_call::attempt(open_socket& socket) {
  owner_->forget_icmp();
  msghdr message;
  iovec part;
  sockaddr_in6 sender;
  received_control control;
  // The call is repeated after a signal, which leaves the message as it was.
  prepare(message, part, data_, size_, sender, control);
  const ssize_t n =
      uninterrupted([&] { return os().receive_message(socket.descriptor(), &message, MSG_TRUNC); });
  if (n < 0) return receive_failed(socket, *owner_, failed_by_icmp_);
  received_ = report(message, static_cast<std::size_t>(n), owner_->how().port);
  socket.set_exhausted(reading, false);
  socket.loop().charge(received_.size);
  return 0;
}

std::string receive_call::doing(const open_socket& socket) const {
  return receiving(socket, *owner_, failed_by_icmp_);
}

receive_many_call::receive_many_call(datagram_socket& owner,
                                     std::span<incoming_datagram> into) noexcept
    : owner_(&owner), into_(into) {
  if (into.empty()) misuse("a receive_many into an empty array can receive nothing");
}

std::optional<int> receive_many_call::attempt(open_socket& socket) {
  owner_->forget_icmp();
  std::array<mmsghdr, most_datagrams> messages;
  std::array<iovec, most_datagrams> parts;
  std::array<sockaddr_in6, most_datagrams> names;
  std::array<received_control, most_datagrams> controls;
  const std::size_t most = std::min(into_.size(), most_datagrams);
  for (std::size_t i = 0; i < most; ++i) {
    const mutable_buffer& into = into_[i].buffer;
    prepare(messages[i].msg_hdr, parts[i], into.data(), into.size(), names[i], controls[i]);
    messages[i].msg_len = 0;
  }
  const int n = uninterrupted([&] {
    return os().receive_messages(socket.descriptor(), messages.data(), static_cast<unsigned>(most),
                                 MSG_TRUNC);
  });
  if (n < 0) return receive_failed(socket, *owner_, failed_by_icmp_);
  count_ = static_cast<std::size_t>(n);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    into_[i].received = report(messages[i].msg_hdr, messages[i].msg_len, owner_->how().port);
    bytes += into_[i].received.size;
  }
  socket.set_exhausted(reading, count_ < most);
  socket.loop().charge(bytes + count_ * charge_of_one);
  return 0;
}

std::string receive_many_call::doing(const open_socket& socket) const {
  return receiving(socket, *owner_, failed_by_icmp_);
}

std::optional<int> send_call::attempt(open_socket& socket) {
  msghdr message;
  message_of filled;
  if (const int error = filled.fill(message, what_, *owner_); error != 0) return error;
  const ssize_t n = past_icmp(
      *owner_, [&] { return os().send_message(socket.descriptor(), &message, MSG_NOSIGNAL); });
  if (n < 0) return note_failed(socket, writing);
  socket.set_exhausted(writing, false);
  socket.loop().charge(what_.bytes.size());
  return 0;
}

std::string send_call::doing(const open_socket& socket) const { return sending(socket, what_.to); }

std::optional<int> send_many_call::attempt(open_socket& socket) {
  while (sent_ != all_.size()) {
    std::array<mmsghdr, most_datagrams> messages;
    std::array<message_of, most_datagrams> filled;
    const std::size_t most = std::min(all_.size() - sent_, most_datagrams);
    std::size_t count = 0;
    for (; count < most; ++count) {
      mmsghdr& message = messages[count];
      message.msg_len = 0;
      const int error = filled[count].fill(message.msg_hdr, all_[sent_ + count], *owner_);
      if (error == 0) continue;
      if (count != 0) break;  // those before it are sent first
      if (sent_ != 0) return 0;
      return error;
    }
    const int n = past_icmp(*owner_, [&] {
      return os().send_messages(socket.descriptor(), messages.data(), static_cast<unsigned>(count),
                                MSG_NOSIGNAL);
    });
    if (n < 0) {
      // The error is that of the first datagram. The next send, which begins with it, reports it.
      if (!would_block()) return sent_ != 0 ? 0 : errno;
      socket.found_nothing(writing);
      if (sent_ != 0 && !waits_) return 0;
      return std::nullopt;
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      bytes += all_[sent_ + i].bytes.size();
    }
    sent_ += static_cast<std::size_t>(n);
    socket.set_moved(true);
    socket.set_exhausted(writing, false);
    socket.loop().charge(bytes + static_cast<std::size_t>(n) * charge_of_one);
    if (sent_ == all_.size()) break;
    if (!socket.loop().may_go_on()) {
      if (!waits_) return 0;
      return std::nullopt;
    }
  }
  return 0;
}

std::string send_many_call::doing(const open_socket& socket) const {
  return sending(socket, sent_ < all_.size() ? all_[sent_].to : address());
}

}  // namespace eddy::detail
