// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/unix_calls.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;

/// The control part of a message. A receiver has space for credentials, too: the kernel puts them
/// before the descriptors if the program has set SO_PASSCRED.
struct control_part {
  static constexpr std::size_t most =
      CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(most_descriptors * sizeof(int));
  alignas(cmsghdr) std::array<char, most> bytes;
};

/// Moves the descriptors of a received message to `slots`, and closes those that are too many.
/// Returns the number of descriptors that were kept. `lost` says whether there were others.
std::size_t take_descriptors(msghdr& message, std::span<unique_descriptor> slots, bool& lost) {
  std::size_t kept = 0;
  lost = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof number, sizeof number);
      unique_descriptor one(number);
      if (kept < slots.size()) {
        slots[kept++] = std::move(one);
      } else {
        lost = true;
      }
    }
  }
  return kept;
}

/// The result of one system call that received.
struct received {
  ssize_t size;
  std::size_t descriptors;
  bool descriptors_lost;
};

received receive(open_socket& socket, void* data, std::size_t size,
                 std::span<unique_descriptor> slots, int flags, sockaddr_storage* from,
                 socklen_t* from_size) {
  iovec part{.iov_base = data, .iov_len = size};
  control_part control;
  msghdr message{};
  message.msg_name = from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const std::size_t places = std::min(slots.size(), most_descriptors);
  const ssize_t n = uninterrupted([&] {
    message.msg_namelen = from == nullptr ? 0 : sizeof *from;
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(sizeof(ucred)) + CMSG_LEN(places * sizeof(int));
    message.msg_flags = 0;
    return os().receive_message(socket.descriptor(), &message, flags | MSG_CMSG_CLOEXEC);
  });
  received got{.size = n, .descriptors = 0, .descriptors_lost = false};
  if (n < 0) return got;
  got.descriptors = take_descriptors(message, slots, got.descriptors_lost);
  if (from_size != nullptr) *from_size = message.msg_namelen;
  return got;
}

/// Sends bytes and descriptors. Returns -1 and sets `errno` if that fails.
ssize_t send(open_socket& socket, const void* data, std::size_t size,
             std::span<const int> descriptors, const unix_address& to) {
  if (descriptors.size() > most_descriptors) {
    errno = EINVAL;
    return -1;
  }
  iovec part{.iov_base = const_cast<void*>(data), .iov_len = size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  sockaddr_storage name;
  if (!to.is_unnamed()) {
    message.msg_namelen = to.to(name);
    message.msg_name = &name;
  }
  control_part control;
  if (!descriptors.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    std::memset(control.bytes.data(), 0, message.msg_controllen);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size_bytes());
  }
  return uninterrupted(
      [&] { return os().send_message(socket.descriptor(), &message, MSG_NOSIGNAL); });
}

// The cost of a descriptor in a turn's budget, in bytes: opening or closing a descriptor takes
// about as long as copying so many bytes.
constexpr std::size_t descriptor_cost = 256;

}  // namespace

receive_descriptors_call::receive_descriptors_call(mutable_buffer into,
                                                   std::span<unique_descriptor> slots) noexcept
    : into_(into), slots_(slots) {
  if (into.size() == 0) {
    misuse("a receive into an empty buffer: its result of 0 would look like the end of the stream");
  }
}

std::optional<int> receive_descriptors_call::attempt(open_socket& socket) {
  const std::size_t wanted = std::min(into_.size(), most_bytes);
  const received got = receive(socket, into_.data(), wanted, slots_, 0, nullptr, nullptr);
  if (got.size < 0) return note_failed(socket, reading);
  // The kernel ends a read behind bytes that came with descriptors, so a short read does not mean
  // that the socket is empty.
  socket.set_exhausted(reading, false);
  got_.size = static_cast<std::size_t>(got.size);
  got_.descriptors = got.descriptors;
  got_.descriptors_lost = got.descriptors_lost;
  if (socket.reading_ended()) {
    socket.unread() -= std::min(socket.unread(), static_cast<std::uint32_t>(got.size));
  }
  socket.loop().charge(got_.size + got.descriptors * descriptor_cost);
  return 0;
}

send_some_descriptors_call::send_some_descriptors_call(const_buffer bytes,
                                                       std::span<const int> descriptors) noexcept
    : bytes_(bytes), descriptors_(descriptors) {
  if (bytes.size() == 0 && !descriptors.empty()) {
    misuse("descriptors were sent without bytes: a stream carries them with at least one byte");
  }
}

std::optional<int> send_some_descriptors_call::attempt(open_socket& socket) {
  if (bytes_.size() == 0) return 0;
  const std::size_t wanted = std::min(bytes_.size(), most_bytes);
  const ssize_t n = send(socket, bytes_.data(), wanted, descriptors_, unix_address());
  const auto error = note_written(socket, n, wanted);
  if (n < 0) return error;
  socket.loop().charge(descriptors_.size() * descriptor_cost);
  sent_ = static_cast<std::size_t>(n);
  return 0;
}

std::optional<int> send_descriptors_call::attempt(open_socket& socket) {
  if (!sent_) {
    const std::optional<int> outcome = first_.attempt(socket);
    if (outcome != 0) return outcome;
    sent_ = true;
    const std::span<const std::byte> all(bytes_.data(), bytes_.size());
    const std::span<const std::byte> left = all.subspan(first_.take());
    rest_ = write_call(const_buffer(left));
    if (!left.empty() && must_wait(socket)) return std::nullopt;
  }
  return rest_.attempt(socket);
}

std::optional<int> receive_message_call::attempt(open_socket& socket) {
  sockaddr_storage from;
  socklen_t from_size = 0;
  // With MSG_TRUNC, the result is the size of the message, and not of the part in the buffer.
  const received got =
      receive(socket, into_.data(), into_.size(), slots_, MSG_TRUNC, &from, &from_size);
  if (got.size < 0) return note_failed(socket, reading);
  socket.set_exhausted(reading, false);
  got_.full_size = static_cast<std::size_t>(got.size);
  got_.size = std::min(got_.full_size, into_.size());
  got_.descriptors = got.descriptors;
  got_.descriptors_lost = got.descriptors_lost;
  got_.from = unix_address::from(reinterpret_cast<const sockaddr*>(&from), from_size);
  socket.loop().charge(got_.size + got.descriptors * descriptor_cost);
  return 0;
}

std::optional<int> send_message_call::attempt_to(open_socket& socket, const unix_address& to) {
  const ssize_t n = send(socket, bytes_.data(), bytes_.size(), descriptors_, to);
  if (n < 0) return note_failed(socket, writing);
  socket.set_moved(true);
  socket.set_exhausted(writing, false);
  socket.loop().charge(bytes_.size() + descriptors_.size() * descriptor_cost);
  return 0;
}

std::optional<int> send_to_call::attempt(open_socket& socket) {
  const std::optional<int> outcome = attempt_to(socket, to_);
  full_ = !outcome;
  // The socket itself has space, as far as this knows: the next send goes elsewhere, perhaps.
  socket.set_exhausted(writing, false);
  if (outcome) pause_.reset();
  return outcome;
}

send_to_call::pause::pause(open_socket& s, event_loop& loop) noexcept
    : timer_node(loop,
                 [](ready_node& n) {
                   open_socket& own = static_cast<pause&>(n).socket;
                   own.run_again(writing);
                 }),
      socket(s) {}

void send_to_call::wait(open_socket& socket, operation& op) noexcept {
  if (!full_) return socket.wait(which, op);
  if (!pause_) pause_.emplace(socket, socket.loop());
  try {
    pause_->set(socket.loop().after(next_pause_));
    next_pause_ = std::min(2 * next_pause_, longest_pause);
  } catch (const std::bad_alloc&) {
    socket.wait(which, op);  // without memory, it tries again at once
  }
}

}  // namespace eddy::detail
