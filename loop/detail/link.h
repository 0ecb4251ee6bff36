// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

/// A place in a circular doubly linked list; alone, it points at itself.
///
/// A list is a `link` that stands for both ends. Nothing is owned: whoever
/// embeds a link takes it out before it dies.
struct link {
  link* next = this;
  link* prev = this;

  link() noexcept = default;
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  [[nodiscard]] bool linked() const noexcept { return next != this; }

  void unlink() noexcept {
    prev->next = next;
    next->prev = prev;
    next = prev = this;
  }

  /// Puts `element` at the end of the list that this link stands for.
  void push_back(link& element) noexcept {
    element.prev = prev;
    element.next = this;
    prev->next = &element;
    prev = &element;
  }

  void push_front(link& element) noexcept { next->push_back(element); }

  /// Moves all elements of `list` to the end of this one.
  void splice_back(link& list) noexcept {
    if (!list.linked()) return;
    list.next->prev = prev;
    list.prev->next = this;
    prev->next = list.next;
    prev = list.prev;
    list.next = list.prev = &list;
  }

  /// Takes the place of `other` in its list and leaves it alone.
  void replace(link& other) noexcept {
    if (!other.linked()) return;
    other.push_back(*this);
    other.unlink();
  }
};

}  // namespace eddy::detail
