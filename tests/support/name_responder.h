// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/net/address.h>
#include <eddy/net/resolve_srv.h>

#include "support/failing_system.h"

/// A DNS message that is written byte by byte, so that it may be as wrong as a test wants.
class dns_message {
public:
  std::string bytes;

  dns_message& number(std::uint32_t value, int size) {
    for (int i = size - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i));
    return *this;
  }
  dns_message& name(std::string_view dotted) {
    while (!dotted.empty()) {
      const std::string_view label = dotted.substr(0, dotted.find('.'));
      bytes += static_cast<char>(label.size());
      bytes += label;
      dotted.remove_prefix(std::min(dotted.size(), label.size() + 1));
    }
    bytes += '\0';
    return *this;
  }
  /// A pointer to an earlier name.
  dns_message& pointer(unsigned to) { return number(0xc000 | to, 2); }
  dns_message& record(unsigned type, unsigned ttl, std::string_view data) {
    number(type, 2).number(1, 2).number(ttl, 4).number(static_cast<unsigned>(data.size()), 2);
    bytes += data;
    return *this;
  }
};

/// A question that came to a `name_responder`.
struct dns_question {
  static constexpr unsigned a = 1;
  static constexpr unsigned cname = 5;
  static constexpr unsigned aaaa = 28;
  static constexpr unsigned srv = 33;
  static constexpr unsigned own_name = 12;  // where the name of the question is in a message

  unsigned id = 0;
  std::string name;
  unsigned type = 0;
  std::string section;  // its bytes
  bool by_tcp = false;

  /// The begin of an answer with this question.
  [[nodiscard]] dns_message begin(unsigned records, unsigned code = 0,
                                  bool truncated = false) const {
    dns_message m;
    m.number(id, 2).number(0x8180 | code | (truncated ? 0x200U : 0U), 2);
    m.number(1, 2).number(records, 2).number(0, 4);
    m.bytes += section;
    return m;
  }
  /// An answer with addresses: those of the question's family.
  [[nodiscard]] std::string with(const std::vector<std::string>& addresses,
                                 unsigned ttl = 60) const {
    std::vector<std::string> data;
    for (const std::string& text : addresses) {
      const eddy::address one = *eddy::address::parse(text, 0);
      if (one.is_v6() != (type == aaaa)) continue;
      data.emplace_back(reinterpret_cast<const char*>(one.bytes().data()), one.is_v6() ? 16U : 4U);
    }
    dns_message m = begin(static_cast<unsigned>(data.size()));
    for (const std::string& d : data) m.pointer(own_name).record(type, ttl, d);
    return m.bytes;
  }
  /// An answer with SRV records.
  [[nodiscard]] std::string with_services(const std::vector<eddy::srv_record>& all,
                                          unsigned ttl = 60) const {
    dns_message m = begin(static_cast<unsigned>(all.size()));
    for (const eddy::srv_record& r : all) {
      dns_message data;
      data.number(r.priority, 2).number(r.weight, 2).number(r.port, 2).name(r.host);
      m.pointer(own_name).record(srv, ttl, data.bytes);
    }
    return m.bytes;
  }
  [[nodiscard]] std::string error(unsigned code) const { return begin(0, code).bytes; }
};

/// A name server on loopback, which answers as the test says. It has no thread: it answers a
/// question inside of the system call that sends it. Both families are in use, and the hosts file
/// has no loopback names.
class name_responder : public failing_system {
public:
  using answers = std::vector<std::string>;

  name_responder() {
    // A scenario fails each allocation, also those of this object.
    connections_.reserve(100);
    received_.reserve(100);
    do {
      if (udp_ >= 0) ::close(udp_);
      if (tcp_ >= 0) ::close(tcp_);
      udp_ = bound(SOCK_DGRAM, eddy::address::loopback_v4(0));
      where_ = name_of(udp_);
      tcp_ = bound(SOCK_STREAM, where_);
    } while (tcp_ < 0 || ::listen(tcp_, 8) != 0);
  }
  ~name_responder() override {
    for (const int c : connections_) ::close(c);
    ::close(udp_);
    ::close(tcp_);
  }

  /// Gives the messages with which a question is answered.
  std::function<answers(const dns_question&)> answer;
  /// The questions: "A host.example", and with " by TCP" if so.
  std::vector<std::string> log;
  /// If it is not zero, TCP answers are cut off after so many bytes, and the connection is closed.
  std::size_t cut_off = 0;
  eddy::detail::used_families both{true, true};

  [[nodiscard]] const eddy::address& where() const { return where_; }

  /// Sends an answer to the last question by UDP, later.
  void send_late(const std::string& message) { to_client(message); }
  [[nodiscard]] const dns_question& last() const { return last_; }

  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    const ssize_t n = failing_system::send_message(descriptor, message, flags);
    const int error = errno;
    try {
      serve();
    } catch (const std::bad_alloc&) {
      // The question is lost: an exception must not pass through c-ares.
    }
    errno = error;
    return n;
  }
  bool asks_dns(const char* /*host*/) override { return true; }
  bool is_loopback_name(const char* /*host*/) override { return false; }
  eddy::detail::used_families families() override { return both; }
  int service_port(const char* name) override {
    return std::string_view(name) == "https" ? 443 : -1;
  }
  std::uint64_t random() override { return next_random; }
  std::uint64_t next_random = 0;

private:
  static int bound(int type, const eddy::address& to) {
    sockaddr_storage name;
    const socklen_t size = to.to(name);
    const int made = ::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(made >= 0);
    if (::bind(made, reinterpret_cast<const sockaddr*>(&name), size) == 0) return made;
    ::close(made);
    return -1;
  }
  static eddy::address name_of(int descriptor) {
    sockaddr_storage name;
    socklen_t size = sizeof name;
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size);
    return eddy::address::from(reinterpret_cast<const sockaddr*>(&name), size);
  }

  void serve() {
    std::array<char, 4096> buffer;
    for (;;) {
      client_size_ = sizeof client_;
      const ssize_t n = ::recvfrom(udp_, buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&client_), &client_size_);
      if (n < 0) break;
      for (const std::string& m :
           take(std::string_view(buffer.data(), static_cast<std::size_t>(n)), false)) {
        to_client(m);
      }
    }
    for (int c = 0; (c = ::accept4(tcp_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      connections_.push_back(c);
      received_.emplace_back();
    }
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      ssize_t n = 0;
      while ((n = ::recv(connections_[i], buffer.data(), buffer.size(), 0)) > 0) {
        received_[i].append(buffer.data(), static_cast<std::size_t>(n));
      }
      serve_stream(i);
    }
  }

  void serve_stream(std::size_t i) {
    std::string& all = received_[i];
    while (all.size() >= 2) {
      const std::size_t size =
          static_cast<unsigned char>(all[0]) * 256U + static_cast<unsigned char>(all[1]);
      if (all.size() < 2 + size) return;
      const answers messages = take(std::string_view(all).substr(2, size), true);
      all.erase(0, 2 + size);
      for (const std::string& m : messages) {
        dns_message framed;
        framed.number(static_cast<unsigned>(m.size()), 2).bytes += m;
        if (cut_off != 0) framed.bytes.resize(std::min(cut_off, framed.bytes.size()));
        ::send(connections_[i], framed.bytes.data(), framed.bytes.size(), MSG_NOSIGNAL);
        if (cut_off != 0) ::shutdown(connections_[i], SHUT_RDWR);
      }
    }
  }

  answers take(std::string_view message, bool by_tcp) {
    dns_question q;
    const auto byte = [message](std::size_t at) { return static_cast<unsigned char>(message[at]); };
    if (message.size() < 17) return {};
    q.id = byte(0) * 256U + byte(1);
    std::size_t at = 12;
    while (byte(at) != 0) {
      if (!q.name.empty()) q.name += '.';
      q.name += message.substr(at + 1, byte(at));
      at += byte(at) + 1U;
    }
    q.type = byte(at + 1) * 256U + byte(at + 2);
    q.section = message.substr(12, at + 5 - 12);
    q.by_tcp = by_tcp;
    const char* const kind = q.type == dns_question::a      ? "A "
                             : q.type == dns_question::aaaa ? "AAAA "
                             : q.type == dns_question::srv  ? "SRV "
                                                            : "? ";
    log.push_back(kind + q.name + (by_tcp ? " by TCP" : ""));
    last_ = q;
    return answer ? answer(q) : answers();
  }

  void to_client(const std::string& m) {
    ::sendto(udp_, m.data(), m.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&client_),
             client_size_);
  }

  int udp_ = -1;
  int tcp_ = -1;
  eddy::address where_;
  sockaddr_storage client_{};
  socklen_t client_size_ = 0;
  dns_question last_;
  std::vector<int> connections_;
  std::vector<std::string> received_;
};
