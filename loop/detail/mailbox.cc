// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/mailbox.h>

#include <cstdint>
#include <memory>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace eddy::detail {

namespace {

int make_eventfd() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Addresses that no letter has.
alignas(mailbox::letter) constinit char asleep_mark = 0;
alignas(mailbox::letter) constinit char closed_mark = 0;

void drop_all(mailbox::letter* first) noexcept {
  while (first != nullptr) delete std::exchange(first, first->below);
}

}  // namespace

mailbox::letter* mailbox::asleep() noexcept { return reinterpret_cast<letter*>(&asleep_mark); }
mailbox::letter* mailbox::closed() noexcept { return reinterpret_cast<letter*>(&closed_mark); }

mailbox::mailbox()
    : head_(asleep()), descriptor_(make_eventfd(), "making a loop's wake-up descriptor") {}

mailbox::~mailbox() { close(); }

void mailbox::letter::run(ready_node& node) {
  const std::unique_ptr<letter> self(static_cast<letter*>(&node));
  self->function();
}

bool mailbox::put(handler<void()>&& function) {
  auto fresh = std::make_unique<letter>(std::move(function));
  letter* head = head_.load(std::memory_order_relaxed);
  do {
    if (head == closed()) return false;
    fresh->below = head == asleep() ? nullptr : head;
  } while (!head_.compare_exchange_weak(head, fresh.get(), std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  static_cast<void>(fresh.release());
  if (head == asleep()) wake();
  return true;
}

void mailbox::wake() const noexcept {
  const std::uint64_t one = 1;
  // It can fail only if the counter is full, and then the loop wakes anyway.
  static_cast<void>(!::write(descriptor_.number(), &one, sizeof one));
}

bool mailbox::sleep() noexcept {
  letter* head = nullptr;
  return head_.compare_exchange_strong(head, asleep(), std::memory_order_acq_rel) ||
         head == asleep();
}

mailbox::letter* mailbox::take() noexcept {
  if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
  letter* const first = head_.exchange(nullptr, std::memory_order_acq_rel);
  return first == asleep() ? nullptr : first;
}

bool mailbox::empty() const noexcept {
  const letter* const head = head_.load(std::memory_order_relaxed);
  return head == nullptr || head == asleep();
}

void mailbox::drain() const noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(descriptor_.number(), &count, sizeof count));
}

void mailbox::close() noexcept {
  letter* const first = head_.exchange(closed(), std::memory_order_acq_rel);
  if (first != asleep() && first != closed()) drop_all(first);
}

void mailbox::renew() { renew_descriptor(descriptor_.number(), &make_eventfd); }

}  // namespace eddy::detail
