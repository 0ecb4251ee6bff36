// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

/// An element of a circular doubly linked list. An element in no list points at itself.
///
/// The list itself is a `list_node` that stands for both ends. A list owns nothing: the owner of
/// an element unlinks it before destroying it.
struct list_node {
  list_node* next = this;
  list_node* prev = this;

  list_node() noexcept = default;
  list_node(const list_node&) = delete;
  list_node& operator=(const list_node&) = delete;

  [[nodiscard]] bool linked() const noexcept { return next != this; }

  void unlink() noexcept {
    prev->next = next;
    next->prev = prev;
    next = prev = this;
  }

  /// Puts `element` at the end of the list that this list_node stands for.
  void push_back(list_node& element) noexcept {
    element.prev = prev;
    element.next = this;
    prev->next = &element;
    prev = &element;
  }

  void push_front(list_node& element) noexcept { next->push_back(element); }

  /// Moves all elements of `list` to the end of this list.
  void splice_back(list_node& list) noexcept {
    if (!list.linked()) return;
    list.next->prev = prev;
    list.prev->next = this;
    prev->next = list.next;
    prev = list.prev;
    list.next = list.prev = &list;
  }

  /// Takes the position of `other` in its list, and unlinks `other`.
  void replace(list_node& other) noexcept {
    if (!other.linked()) return;
    other.push_back(*this);
    other.unlink();
  }
};

}  // namespace eddy::detail
