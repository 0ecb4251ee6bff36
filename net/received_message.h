// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <eddy/net/unix_address.h>

namespace eddy {

/// The largest number of descriptors that one message can carry: the kernel's SCM_MAX_FD, which
/// unix(7) gives as 253.
inline constexpr std::size_t most_descriptors = 253;

/// Bytes of a stream that were received together with descriptors.
struct received_bytes {
  /// The number of bytes; 0 is the end of the stream.
  std::size_t size = 0;
  /// The number of descriptors. They are in the first elements of the range `slots`.
  std::size_t descriptors = 0;
  /// Whether the peer sent more descriptors than the range holds, or than this process may open.
  /// The rest are closed and lost.
  bool descriptors_lost = false;
};

/// A message of a datagram or seqpacket socket.
struct received_message {
  /// The number of bytes in the buffer.
  std::size_t size = 0;
  /// The number of bytes that were sent. The bytes beyond the buffer are lost.
  std::size_t full_size = 0;
  /// The number of descriptors. They are in the first elements of the range `slots`.
  std::size_t descriptors = 0;
  /// Whether the peer sent more descriptors than the range holds, or than this process may open.
  /// The rest are closed and lost.
  bool descriptors_lost = false;
  /// The address of the sender; unnamed if the sender is not bound.
  unix_address from;

  /// Whether the buffer was too small for the message.
  [[nodiscard]] bool truncated() const noexcept { return full_size > size; }
};

}  // namespace eddy
