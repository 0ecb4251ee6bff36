// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/future_core.h>
#include <eddy/future/outcome.h>

namespace eddy::detail {

/// A `future_core` with room for the value.
template <class T>
class future_state : public future_core {
public:
  using value = typename stored<T>::type;

  void set(outcome<T>&& o) {
    if (o) {
      if constexpr (!std::is_void_v<T>) std::construct_at(&storage_.held, *std::move(o));
      stage_ = stage::value;
    } else {
      set_error(std::move(o.error()));
    }
  }

  /// Takes the value or the exception.
  [[nodiscard]] outcome<T> take() {
    seen_ = true;
    if (stage_ == stage::error) return outcome<T>(std::unexpect, std::move(error_));
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return outcome<T>(std::in_place, std::move(storage_.held));
    }
  }

protected:
  explicit future_state(event_loop& loop, bool listed = false, std::uint8_t owners = 2) noexcept
      : future_core(loop, listed, owners) {}
  ~future_state() override { drop_value(); }

private:
  void drop_value() noexcept final {
    if constexpr (!std::is_void_v<T>) {
      if (stage_ != stage::value) return;
      stage_ = stage::dropped;
      std::destroy_at(&storage_.held);
    }
  }
  struct nothing {};
  union storage {
    storage() noexcept {}
    ~storage() {}
    std::conditional_t<std::is_void_v<T>, nothing, value> held;
  };
  [[no_unique_address]] storage storage_;
};

}  // namespace eddy::detail
