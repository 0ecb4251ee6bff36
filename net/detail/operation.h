// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// One operation on an open socket, awaited or with a handler.

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// A system call and its arguments, for an operation to attempt.
///
/// `attempt` makes the system call. It returns the `errno`, or zero for success, and `take` then
/// returns the value. It returns `std::nullopt` if the operation has to wait for readiness, or has
/// used up its share of the turn.
template <class Call>
concept socket_call = std::move_constructible<Call> && requires(Call& call, open_socket& socket) {
  typename Call::value;
  { Call::which } -> std::convertible_to<open_socket::direction>;
  { Call::name } -> std::convertible_to<const char*>;  // "read from"
  { Call::busy } -> std::convertible_to<const char*>;  // "a read is already pending on this …"
  { Call::tries } -> std::convertible_to<bool>;        // whether it is attempted before it waits
  { call.attempt(socket) } -> std::same_as<std::optional<int>>;
  { call.take() } -> std::same_as<typename Call::value>;
};

/// A call that decides itself how its operation waits, because it can pause. `wait` is called
/// whenever the operation has to be attempted again, and `cancelled` when a pending operation is
/// destroyed with its coroutine.
template <class Call>
concept pausing_call =
    socket_call<Call> && requires(Call& call, open_socket& socket, operation& op) {
      call.wait(socket, op);
      call.cancelled();
    };

/// A call that words itself what it does, and to whom: "send to 127.0.0.1:53".
template <class Call>
concept worded_call = socket_call<Call> && requires(const Call& call, const open_socket& socket) {
  { call.doing(socket) } -> std::same_as<std::string>;
};

/// Aborts the program unless the running loop is the socket's.
void expect_loop(const open_socket& socket) noexcept;

/// Has the loop call `on_done` with `error`, or with success if `error` is zero. Closing the
/// socket, or stopping its writes, destroys the handler. The pending write is not touched.
/// Errors: `std::bad_alloc`.
void refuse(open_socket& socket, int error, handler<void(result<void>)> on_done);

/// One operation on a socket.
///
/// The loop runs it: it makes its system call, and then either waits again or delivers the result
/// at once. Therefore nothing is taken from the kernel and not delivered.
class operation {
public:
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;

  /// The node that the loop runs: of the callback operation, or the awaiting coroutine's frame.
  [[nodiscard]] ready_node& node() const noexcept { return *node_; }
  /// Whether this is the pending operation of its direction.
  [[nodiscard]] bool active() const noexcept { return active_; }

protected:
  operation(ready_node* node, open_socket& socket, bool owned) noexcept
      : node_(node), socket_(&socket), owned_(owned) {}
  ~operation() = default;

  /// Makes the call. Returns true if there is a result, which may be an error.
  template <socket_call Call>
  bool attempt(Call& call) {
    if (settled_) return true;
    if (socket_->closed()) {
      error_ = ECANCELED;
      return true;
    }
    if (const std::error_code failed = socket_->take_watch_error()) {
      error_ = failed.value();
      return true;
    }
    const std::optional<int> outcome = call.attempt(*socket_);
    if (outcome) error_ = *outcome;
    return outcome.has_value();
  }

  /// Begins the operation and has the loop attempt it.
  template <socket_call Call>
  void start(Call& call) noexcept {
    if constexpr (pausing_call<Call>) {
      socket_->begin(Call::which, *this, Call::tries);
      call.wait(*socket_, *this);
    } else {
      socket_->start(Call::which, *this, Call::tries);
    }
  }

  /// Attempts the call, on behalf of the loop. Returns true if there is a result to deliver;
  /// otherwise the operation waits again.
  template <socket_call Call>
  bool attempt_or_wait(Call& call) {
    // An operation on an exhausted socket runs only when the socket was reported as ready.
    const bool reported = !Call::tries || socket_->exhausted(Call::which);
    socket_->set_moved(false);
    if (attempt(call)) {
      socket_->complete(Call::which, *this);
      return true;
    }
    if constexpr (pausing_call<Call>) {
      call.wait(*socket_, *this);
    } else {
      const bool nothing = !Call::tries || socket_->exhausted(Call::which);
      if (reported && nothing && !socket_->moved()) [[unlikely]] {
        socket_->spurious_wakeup(Call::which, *this);
      } else {
        socket_->wait(Call::which, *this);
      }
    }
    return false;
  }

  /// Sets the result without a call; zero is success.
  void settle(int error) noexcept {
    error_ = error;
    settled_ = true;
  }
  [[nodiscard]] bool settled() const noexcept { return settled_; }

  [[gnu::cold]] void describe_as(description& to, const char* name) const;
  [[gnu::cold]] void describe_as(description& to, const std::string& doing) const;
  [[noreturn, gnu::cold]] void fail(const char* name) const;
  [[noreturn, gnu::cold]] void fail(const std::string& doing) const;

  template <socket_call Call>
  result<typename Call::value> take(Call& call) {
    if (error_ != 0) return std::unexpected(std::error_code(error_, std::generic_category()));
    if constexpr (std::is_void_v<typename Call::value>) {
      return {};
    } else {
      return call.take();
    }
  }

  ready_node* node_;
  open_socket* socket_;
  int error_ = 0;

private:
  friend class open_socket;

  bool owned_ : 1;            // by the socket: a callback operation
  bool active_ : 1 = false;   // the pending operation of its direction
  bool settled_ : 1 = false;  // has its result, which is not delivered yet
  bool tries_ : 1 = false;    // its call moves bytes, and does not only wait
  bool retried_ : 1 = false;  // after a spurious wake-up
};

/// The awaiter of an operation: it lies in the frame of the awaiting coroutine.
template <socket_call Call>
class [[nodiscard]] awaited final : public suspension, private operation {
public:
  using value = typename Call::value;

  /// Takes over one reference to `socket`.
  awaited(open_socket& socket, Call&& call) noexcept
      : operation(nullptr, socket, false), call_(std::move(call)) {}
  ~awaited() {
    if (active()) {
      socket_->cancel(Call::which, *this);
      if constexpr (pausing_call<Call>) call_.cancelled();
    }
    socket_->release();
  }

  [[nodiscard]] bool await_ready() {
    if (socket_->closed()) {
      settle(ECANCELED);
      return frame::may_go_on();
    }
    expect_loop(*socket_);
    if constexpr (Call::which == open_socket::direction::write) {
      if (socket_->shutdown_delayed()) [[unlikely]] {
        settle(Call::after_shutdown);
        return frame::may_go_on();
      }
    }
    socket_->expect_free(Call::which, Call::busy);
    if (!Call::tries || socket_->exhausted(Call::which) || !frame::may_go_on()) return false;
    return attempt(call_);
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this, &run);
    node_ = &waiter;
    if (settled()) [[unlikely]] {
      socket_->loop().ready(waiter);
    } else {
      start(call_);
    }
  }

  result<value> await_result() { return take(call_); }

  value await_resume() {
    if (error_ != 0) fail(doing());
    return call_.take();
  }

  void describe(description& to) const override { describe_as(to, doing()); }

private:
  [[nodiscard]] auto doing() const {
    if constexpr (worded_call<Call>) {
      return call_.doing(*socket_);
    } else {
      return Call::name;
    }
  }

  static void run(ready_node& node) {
    auto& waiter = static_cast<frame&>(node);
    auto& self = static_cast<awaited&>(waiter.waiting_for());
    if (self.attempt_or_wait(self.call_)) frame::resume_after(waiter);
  }

  [[no_unique_address]] Call call_;
};

/// An operation that is not started yet: the result of `stream.read(buffer)`, for `co_await`.
///
/// It is not the awaiter itself, because g++ 12 keeps a movable awaiter twice in the frame.
template <socket_call Call>
class [[nodiscard("this does nothing without co_await or a handler")]] operation_awaitable {
public:
  operation_awaitable(open_socket& socket, Call call) noexcept
      : socket_(&socket), call_(std::move(call)) {
    socket.retain();
  }
  operation_awaitable(operation_awaitable&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)), call_(std::move(other.call_)) {}
  operation_awaitable& operator=(operation_awaitable&&) = delete;
  ~operation_awaitable() {
    if (socket_ != nullptr) socket_->release();
  }

  awaited<Call> operator co_await() && noexcept {
    if (socket_ == nullptr) misuse("an operation was awaited twice, or after it was moved from");
    return awaited<Call>(*std::exchange(socket_, nullptr), std::move(call_));
  }

private:
  open_socket* socket_;
  [[no_unique_address]] Call call_;
};

/// An operation with a handler. Its socket owns it, and keeps it for the next operation.
class callback_operation_base : public operation, public ready_node, public recycled {
public:
  callback_operation_base(function run, const char& kind, open_socket& socket) noexcept
      : operation(this, socket, true), ready_node(run), kind_(&kind) {}
  callback_operation_base(const callback_operation_base&) = delete;
  callback_operation_base& operator=(const callback_operation_base&) = delete;
  virtual ~callback_operation_base() = default;

  /// Whether this was made with `kind`. A function's address would not tell, because linkers may
  /// give equal functions one address (`--icf=all`).
  [[nodiscard]] bool is(const char& kind) const noexcept { return kind_ == &kind; }

private:
  const char* kind_;
};

template <socket_call Call>
class callback_operation final : public callback_operation_base {
public:
  using value = typename Call::value;

  /// Starts `call` on `socket`. The loop calls `on_done` when it completes.
  /// Errors: `std::bad_alloc`.
  static void start(open_socket& socket, Call call, handler<void(result<value>)> on_done) {
    if constexpr (Call::which == open_socket::direction::write) {
      if (socket.shutdown_delayed()) [[unlikely]] {
        if constexpr (std::is_void_v<value>) {
          return refuse(socket, Call::after_shutdown, std::move(on_done));
        } else {
          return refuse(socket, Call::after_shutdown, without_value(std::move(on_done)));
        }
      }
    }
    socket.expect_free(Call::which, Call::busy);
    auto* self = static_cast<callback_operation_base*>(socket.kept(Call::which));
    if (self == nullptr || !self->is(kind)) self = new callback_operation(socket);
    auto& op = static_cast<callback_operation&>(*self);
    op.call_.emplace(std::move(call));
    op.on_done_ = std::move(on_done);
    if constexpr (Call::which == open_socket::direction::write && Call::tries) {
      op.write_at_once();
    } else {
      op.operation::start(*op.call_);
    }
  }

private:
  /// A handler of an operation that gives no value, which only fails.
  static handler<void(result<void>)> without_value(handler<void(result<value>)>&& on_done) {
    return
        [call = std::move(on_done)](result<void> r) mutable { call(std::unexpected(r.error())); };
  }

  explicit callback_operation(open_socket& socket) noexcept
      : callback_operation_base(&run, kind, socket) {}

  static constexpr char kind = 0;  // its address tells this class from those of other calls

  /// Writes within the call, as an awaited write does. Only the handler, and not the bytes, has to
  /// come after the nodes that are ready already.
  void write_at_once() {
    open_socket& socket = *socket_;
    socket.begin(Call::which, *this, Call::tries);
    if (!socket.exhausted(Call::which) && socket.loop().may_go_on() && attempt(*call_)) {
      settle(error_);
      socket.loop().ready(*this);
    } else if constexpr (pausing_call<Call>) {
      call_->wait(socket, *this);
    } else {
      socket.wait(Call::which, *this);
    }
  }

  static void run(ready_node& node) {
    auto& self = static_cast<callback_operation&>(node);
    if (!self.attempt_or_wait(*self.call_)) return;
    // The handler may destroy this operation.
    auto on_done = std::exchange(self.on_done_, nullptr);
    result<value> r = self.take(*self.call_);
    self.call_.reset();
    on_done(std::move(r));
  }

  std::optional<Call> call_;
  handler<void(result<value>)> on_done_;
};

}  // namespace eddy::detail
