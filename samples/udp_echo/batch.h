// SPDX-License-Identifier: BSD-2-Clause
//
// The datagrams that the UDP echo servers receive and send back with one system call each.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include <eddy/net/datagram.h>

class batch {
public:
  batch();

  /// Space for received datagrams.
  [[nodiscard]] std::span<eddy::incoming_datagram> incoming() { return incoming_; }
  /// Makes an answer to each of the first `count` datagrams, from the address that was asked.
  void answer(std::size_t count);

  /// The answers that are not sent yet.
  [[nodiscard]] std::span<const eddy::outgoing_datagram> outgoing() const {
    return std::span(outgoing_).subspan(sent_, count_ - sent_);
  }
  void remove(std::size_t sent) { sent_ += sent; }
  /// The number of bytes of the answers that are not sent yet.
  [[nodiscard]] std::size_t size() const;

private:
  static constexpr std::size_t most = 32;

  std::array<std::array<char, 65536>, most> bytes_;  // no datagram is larger
  std::array<eddy::incoming_datagram, most> incoming_;
  std::array<eddy::outgoing_datagram, most> outgoing_;
  std::size_t count_ = 0;
  std::size_t sent_ = 0;
};
