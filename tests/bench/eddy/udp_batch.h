// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <eddy/net/datagram.h>

namespace bench {

/// The datagrams that a UDP echo server receives and sends back together.
class udp_batch {
public:
  explicit udp_batch(std::size_t size) : bytes_(most * size), incoming_(most), outgoing_(most) {
    for (std::size_t i = 0; i < most; ++i) {
      incoming_[i].buffer = std::span(bytes_).subspan(i * size, size);
    }
  }

  [[nodiscard]] std::span<eddy::incoming_datagram> incoming() { return incoming_; }

  /// The answers to the first `count` datagrams.
  [[nodiscard]] std::span<const eddy::outgoing_datagram> answers(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const eddy::datagram& asked = incoming_[i].received;
      const std::span<const std::byte> bytes(incoming_[i].buffer.data(), asked.size);
      outgoing_[i] = eddy::outgoing_datagram(bytes, asked.from);
    }
    return std::span(outgoing_).first(count);
  }

private:
  static constexpr std::size_t most = 64;

  std::vector<char> bytes_;
  std::vector<eddy::incoming_datagram> incoming_;
  std::vector<eddy::outgoing_datagram> outgoing_;
};

}  // namespace bench
