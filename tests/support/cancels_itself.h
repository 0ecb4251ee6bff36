// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/future.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>

/// Checks awaitables one by one: a coroutine that cancels itself ends at its next `co_await`.
class cancels_itself {
public:
  explicit cancels_itself(eddy::event_loop& loop) noexcept : loop_(loop) {}

  /// `make` returns an awaitable that is ready. Without the cancellation, the coroutine goes on at
  /// once, with a value or with an error.
  template <class Make>
  void ready(const char* what, Make make) {
    INFO(std::string(what));
    CHECK(end_of(make, false) == "at once");
    CHECK(end_of(make, true) == "destroyed");
  }
  /// `make` returns an awaitable that completes, at once or later.
  template <class Make>
  void completes(const char* what, Make make) {
    INFO(std::string(what));
    const std::string end = end_of(make, false);
    CHECK((end == "at once" || end == "later"));
    CHECK(end_of(make, true) == "destroyed");
  }

private:
  struct notes {
    std::string end = "suspended";
    bool other_work = false;
  };
  struct at_end_of_frame {
    explicit at_end_of_frame(notes* n) noexcept : to(n) {}
    at_end_of_frame(const at_end_of_frame&) = delete;
    ~at_end_of_frame() {
      if (to->end == "suspended") to->end = "destroyed";
    }
    notes* to;
  };

  template <class Make>
  static eddy::task<> body(eddy::event_loop* loop, eddy::future<>* self, notes* to, Make make) {
    const at_end_of_frame local(to);
    auto awaitable = make();
    loop->defer([to] { to->other_work = true; });
    if (self != nullptr) *self = {};
    try {
      co_await std::move(awaitable);
    } catch (const std::exception&) {
      // It went on, too.
    }
    to->end = to->other_work ? "later" : "at once";
  }

  template <class Make>
  std::string end_of(Make make, bool cancelled) {
    notes to;
    eddy::future<> self;
    self = eddy::spawn(loop_, body(&loop_, cancelled ? &self : nullptr, &to, std::move(make)));
    loop_.run();
    return to.end;
  }

  eddy::event_loop& loop_;
};
