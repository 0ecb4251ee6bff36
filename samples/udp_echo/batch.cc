// SPDX-License-Identifier: BSD-2-Clause

#include "batch.h"

batch::batch() {
  for (std::size_t i = 0; i < most; ++i) incoming_[i].buffer = bytes_[i];
}

void batch::answer(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const eddy::datagram& asked = incoming_[i].received;
    const auto bytes = std::span(bytes_[i]).first(asked.size);
    outgoing_[i] = eddy::outgoing_datagram(bytes, asked.from, asked.reply_source);
  }
  count_ = count;
  sent_ = 0;
}

std::size_t batch::size() const {
  std::size_t bytes = 0;
  for (const eddy::outgoing_datagram& answer : outgoing()) bytes += answer.bytes.size();
  return bytes;
}
