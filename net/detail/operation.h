// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// What the two styles share: one operation on an open socket.

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// What an operation does: the system call and its arguments. `attempt` makes
/// the call; it gives the error, or zero, and then `take` the value; or nothing
/// if it has to wait, or is to let others run first because it has had its share.
template <class Call>
concept socket_call = std::move_constructible<Call> && requires(Call& call, open_socket& socket) {
  typename Call::value;
  { Call::which } -> std::convertible_to<open_socket::direction>;
  { Call::name } -> std::convertible_to<const char*>;  // "read from"
  { Call::tries } -> std::convertible_to<bool>;        // before it waits
  { call.attempt(socket) } -> std::same_as<std::optional<int>>;
  { call.take() } -> std::same_as<typename Call::value>;
};

/// Stops the program if another loop than the socket's runs.
void expect_loop(const open_socket& socket) noexcept;

/// Has the loop call `on_done` with `error`, or without one if that is zero. The socket owns the
/// handler, as it does one that waits, but it takes no place from the write that waits.
/// Errors: `std::bad_alloc`.
void refuse(open_socket& socket, int error, handler<void(result<void>)> on_done);

/// One operation on a socket. The loop runs it: it makes its system call, and
/// either waits again or delivers the result there and then. So nothing is
/// taken from the kernel that is not delivered.
class operation {
public:
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;

  /// What the loop runs for it: its own, or the frame of the coroutine that waits.
  [[nodiscard]] ready_node& node() const noexcept { return *node_; }
  [[nodiscard]] bool owned() const noexcept { return owned_; }
  [[nodiscard]] bool active() const noexcept { return active_; }

protected:
  operation(ready_node* node, open_socket& socket, bool owned) noexcept
      : node_(node), socket_(&socket), owned_(owned) {}
  ~operation() = default;

  /// Makes the call. True if that gave a result, which may be an error.
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

  /// What the loop calls. True if there is a result to deliver, and then this
  /// is no longer the socket's.
  template <socket_call Call>
  bool go_on(Call& call) {
    // If so, the loop has said that the socket is ready.
    const bool woken = !Call::tries || socket_->exhausted(Call::which);
    socket_->set_moved(false);
    if (!attempt(call)) {
      const bool nothing = !Call::tries || socket_->exhausted(Call::which);
      if (woken && nothing && !socket_->moved()) [[unlikely]] {
        socket_->woken_in_vain(Call::which, *this);
      } else {
        socket_->wait(Call::which, *this);
      }
      return false;
    }
    socket_->finish(Call::which, *this);
    return true;
  }

  /// It ends with `error` and makes no call; zero is a success.
  void settle(int error) noexcept {
    error_ = error;
    settled_ = true;
  }
  [[nodiscard]] bool settled() const noexcept { return settled_; }

  [[gnu::cold]] void add_words(std::string& out, const char* name) const;
  [[noreturn, gnu::cold]] void fail(const char* name) const;

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

  bool owned_ : 1;                 // by the socket: a callback's
  bool active_ : 1 = false;        // the socket's one in its direction
  bool settled_ : 1 = false;       // it has its result, but was not told
  bool tries_ : 1 = false;         // it moves bytes, and does not only wait
  bool looked_again_ : 1 = false;  // after it was woken in vain
};

/// The await style: lies in the frame of the coroutine that waits.
template <socket_call Call>
class [[nodiscard]] awaited final : public wait, private operation {
public:
  using value = typename Call::value;

  /// Takes over one hold of `socket`.
  awaited(open_socket& socket, Call&& call) noexcept
      : operation(nullptr, socket, false), call_(std::move(call)) {}
  ~awaited() {
    if (active()) socket_->abandon(Call::which, *this);
    socket_->release();
  }

  [[nodiscard]] bool await_ready() {
    if (socket_->closed()) return attempt(call_);
    expect_loop(*socket_);
    if constexpr (Call::which == open_socket::direction::write) {
      if (socket_->ending()) [[unlikely]] {
        settle(Call::after_shutdown);
        return frame::may_go_on();
      }
    }
    socket_->expect_free(Call::which);
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
      socket_->start(Call::which, *this, Call::tries);
    }
  }

  result<value> await_result() { return take(call_); }

  value await_resume() {
    if (error_ != 0) fail(Call::name);
    return call_.take();
  }

  void describe(std::string& out, int) const override { add_words(out, Call::name); }

private:
  static void run(ready_node& node) {
    auto& waiter = static_cast<frame&>(node);
    auto& self = static_cast<awaited&>(waiter.waiting_for());
    if (self.go_on(self.call_)) frame::resume_after(waiter);
  }

  [[no_unique_address]] Call call_;
};

/// What a stream's member gives to be awaited. It is apart from `awaited`
/// because g++ 12 keeps two in the frame of an awaiter that can be moved.
template <socket_call Call>
class [[nodiscard("this does nothing without co_await or a handler")]] to_await {
public:
  to_await(open_socket& socket, Call call) noexcept : socket_(&socket), call_(std::move(call)) {
    socket.retain();
  }
  to_await(to_await&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)), call_(std::move(other.call_)) {}
  to_await& operator=(to_await&&) = delete;
  ~to_await() {
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

/// The callback style, in the one place that a socket has for it.
class called_back_base : public operation, public ready_node, public recycled {
public:
  called_back_base(function run, open_socket& socket) noexcept
      : operation(this, socket, true), ready_node(run), run_(run) {}
  called_back_base(const called_back_base&) = delete;
  called_back_base& operator=(const called_back_base&) = delete;
  virtual ~called_back_base() = default;

  [[nodiscard]] bool runs(function run) const noexcept { return run_ == run; }

private:
  function run_;
};

template <socket_call Call>
class called_back final : public called_back_base {
public:
  using value = typename Call::value;

  /// Has `socket` do `call` and then call `on_done`.
  /// Errors: `std::bad_alloc`.
  static void start(open_socket& socket, Call call, handler<void(result<value>)> on_done) {
    if constexpr (Call::which == open_socket::direction::write) {
      if (socket.ending()) [[unlikely]]
        return refuse(socket, Call::after_shutdown, std::move(on_done));
    }
    socket.expect_free(Call::which);
    auto* self = static_cast<called_back_base*>(socket.kept(Call::which));
    if (self == nullptr || !self->runs(&run)) self = new called_back(socket);
    auto& place = static_cast<called_back&>(*self);
    place.call_.emplace(std::move(call));
    place.on_done_ = std::move(on_done);
    if constexpr (Call::which == open_socket::direction::write && Call::tries) {
      place.write_at_once();
    } else {
      socket.start(Call::which, place, Call::tries);
    }
  }

private:
  explicit called_back(open_socket& socket) noexcept : called_back_base(&run, socket) {}

  /// As an awaited write does: what is ready to run need not go before the bytes, only
  /// before the handler.
  void write_at_once() {
    open_socket& socket = *socket_;
    socket.begin(Call::which, *this, Call::tries);
    if (!socket.exhausted(Call::which) && socket.loop().may_go_on() && attempt(*call_)) {
      settle(error_);
      socket.loop().ready(*this);
    } else {
      socket.wait(Call::which, *this);
    }
  }

  static void run(ready_node& node) {
    auto& self = static_cast<called_back&>(node);
    if (!self.go_on(*self.call_)) return;
    // From here on the handler may do anything, also to this.
    auto on_done = std::exchange(self.on_done_, nullptr);
    result<value> r = self.take(*self.call_);
    self.call_.reset();
    on_done(std::move(r));
  }

  std::optional<Call> call_;
  handler<void(result<value>)> on_done_;
};

}  // namespace eddy::detail
