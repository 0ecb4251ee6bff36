// SPDX-License-Identifier: BSD-2-Clause

#include "send_back.h"

std::optional<std::vector<char>> send_back(eddy::tcp_stream& stream, std::span<char> shared) {
  const auto size = stream.try_read(shared);
  if (!size) return std::vector<char>();
  if (!*size || **size == 0) return std::nullopt;
  const auto bytes = shared.first(**size);
  const auto sent = stream.try_write(bytes);
  if (sent && !*sent) return std::nullopt;
  const auto rest = bytes.subspan(sent ? **sent : 0);
  return std::vector<char>(rest.begin(), rest.end());
}
