// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <utility>

namespace eddy::detail {

template <class T>
class counted_ptr;

/// A base class of objects that `counted_ptr`s own together: the last owner deletes the object.
///
/// `T` is the derived class. If `T` has a public `check_thread()`, each change of the count calls
/// it first.
/// Threads: the count is not atomic, so all owners belong to one thread at a time.
///
/// `future_core` has a count of its own in a spare byte: a spawned task has 56 bytes for it, and
/// this count would make them 64.
template <class T>
class counted {
public:
  counted& operator=(const counted&) = delete;

  /// A further owner, for instance for the time of a call that may release the others.
  [[nodiscard]] counted_ptr<T> share() noexcept {
    retain();
    return counted_ptr<T>(static_cast<T*>(this));
  }

private:
  friend T;
  friend class counted_ptr<T>;

  counted() noexcept = default;
  counted(const counted&) = delete;
  ~counted() = default;

  // Out of line, because g++ 14 takes the count for uninitialized in coroutines.
  [[gnu::noinline]] void retain() noexcept {
    check_owner();
    ++owners_;
  }
  [[gnu::noinline]] void release() noexcept {
    check_owner();
    if (--owners_ == 0) delete static_cast<T*>(this);
  }
  void check_owner() const noexcept {
    const T& object = static_cast<const T&>(*this);
    if constexpr (requires { object.T::check_thread(); }) object.T::check_thread();
  }

  std::size_t owners_ = 1;
};

/// Owns a share of a `counted` object, or is null.
template <class T>
class counted_ptr {
public:
  counted_ptr() noexcept = default;
  /// Takes over the first share of an object that was just made with `new`.
  explicit counted_ptr(T* made) noexcept : object_(made) {}
  counted_ptr(const counted_ptr& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->counted<T>::retain();
  }
  counted_ptr(counted_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  /// The old object is released last, when this already owns the new one.
  counted_ptr& operator=(counted_ptr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~counted_ptr() {
    if (object_ != nullptr) object_->counted<T>::release();
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

  /// Whether this is the only owner.
  [[nodiscard]] bool sole() const noexcept { return object_->counted<T>::owners_ == 1; }

private:
  T* object_ = nullptr;
};

}  // namespace eddy::detail
