// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/future.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/loop_probe.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/failing_system.h"
#include "support/sanitized.h"
#include "support/tidy.h"

// Runs scenarios of net/ with each fault of each of their system calls.

/// The errors that a system call can have.
struct errors_of {
  call kind;
  const char* name;
  bool moves;  // bytes or messages, and perhaps fewer than it could
  /// Errors after which eddy goes on, so that nobody is told.
  std::initializer_list<int> harmless;
  /// Errors that are told. Each is in the call's man page, or in that of the kind of socket.
  std::initializer_list<int> told;
};

inline std::span<const errors_of> all_errors() {
  using enum call;
  // clang-format off
  static const errors_of all[] = {
    {socket, "socket", false, {}, {EACCES, EAFNOSUPPORT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTONOSUPPORT}},
    {bind, "bind", false, {}, {EACCES, EADDRINUSE, EBADF, EINVAL, ENOTSOCK, EADDRNOTAVAIL, EFAULT, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EROFS}},
    {listen, "listen", false, {}, {EADDRINUSE, EBADF, ENOTSOCK, EOPNOTSUPP}},
    {accept, "accept", false,
     {EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EMFILE, ENFILE, ENOBUFS, ENOMEM},
     {EBADF, EFAULT, EINVAL, ENOTSOCK, EOPNOTSUPP, ENOSR, ESOCKTNOSUPPORT, EPROTONOSUPPORT}},
    {connect, "connect", false, {EINTR},
     {EACCES, EPERM, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EALREADY, EBADF, ECONNREFUSED, EFAULT, EISCONN, ENETUNREACH, ENOTSOCK, EPROTOTYPE, ETIMEDOUT, EHOSTUNREACH}},
    {read, "read", true, {EAGAIN, EINTR}, {EBADF, EFAULT, EINVAL, EIO, EISDIR, ECONNRESET, ETIMEDOUT, EPIPE, EHOSTUNREACH, ENOTCONN, ENOBUFS, ENOMEM}},
    {send, "send", true, {EAGAIN, EINTR},
     {EACCES, EALREADY, EBADF, ECONNRESET, EDESTADDRREQ, EFAULT, EINVAL, EISCONN, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE, ETIMEDOUT}},
    {send_message, "sendmsg", true, {EAGAIN, EINTR},
     {EACCES, EALREADY, EBADF, ECONNRESET, ECONNREFUSED, EDESTADDRREQ, EFAULT, EINVAL, EISCONN, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE, ETOOMANYREFS, ENETUNREACH, EHOSTUNREACH}},
    {shutdown, "shutdown", false, {}, {EBADF, EINVAL, ENOTCONN, ENOTSOCK}},
    {close, "close", false, {EBADF, EINTR, EIO, ENOSPC, EDQUOT}, {}},
    {get_option, "getsockopt", false, {}, {EBADF, EFAULT, EINVAL, ENOPROTOOPT, ENOTSOCK}},
    {set_option, "setsockopt", false, {}, {EBADF, EFAULT, EINVAL, ENOPROTOOPT, ENOTSOCK, EDOM, EISCONN, ENOMEM, ENOBUFS, EPERM}},
    {local_name, "getsockname", false, {}, {EBADF, EFAULT, EINVAL, ENOBUFS, ENOTSOCK}},
    {peer_name, "getpeername", false, {}, {EBADF, EFAULT, EINVAL, ENOBUFS, ENOTCONN, ENOTSOCK}},
    {set_non_blocking, "fcntl O_NONBLOCK", false, {}, {EBADF, EPERM, EINVAL}},
    {unread, "ioctl FIONREAD", false, {EBADF, EFAULT, EINVAL, ENOTTY}, {}},
    {receive_message, "recvmsg", true, {EAGAIN, EINTR}, {EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINVAL, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, EHOSTUNREACH, ENETUNREACH, EIO}},
    {socket_pair, "socketpair", false, {}, {EAFNOSUPPORT, EFAULT, EMFILE, ENFILE, EOPNOTSUPP, EPROTONOSUPPORT, ENOMEM, ENOBUFS}},
    {status, "lstat", false, {}, {EACCES, EBADF, EFAULT, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW}},
    {set_mode, "fchmod", false, {}, {EBADF, EIO, EPERM, EROFS}},
    {set_path_mode, "chmod", false, {}, {EACCES, EFAULT, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS}},
    {rename, "renameat2", false, {},
     {EACCES, EBUSY, EDQUOT, EEXIST, EFAULT, EINVAL, EISDIR, ELOOP, EMLINK, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENOTEMPTY, EPERM, EROFS, EXDEV}},
    {remove, "unlink", false, {}, {EACCES, EBUSY, EFAULT, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS}},
    {send_messages, "sendmmsg", true, {EAGAIN, EINTR}, {EACCES, EBADF, ECONNREFUSED, EDESTADDRREQ, EFAULT, EINVAL, EMSGSIZE, ENETUNREACH, ENOBUFS, ENOMEM, ENOTSOCK, EOPNOTSUPP, EPERM, EPIPE}},
    {receive_messages, "recvmmsg", true, {EAGAIN, EINTR}, {EBADF, ECONNREFUSED, EFAULT, EHOSTUNREACH, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK}},
    {receive, "recv", true, {EAGAIN, EINTR}, {EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK, ETIMEDOUT}},
    {write, "pwritev2", true, {EAGAIN, EINTR}, {EBADF, EDESTADDRREQ, EDQUOT, EFAULT, EFBIG, EINVAL, EIO, ENOSPC, EPERM, EPIPE, ENOMEM}},
    {read_now, "preadv2 RWF_NOWAIT", true, {EAGAIN, EINTR, EOPNOTSUPP}, {EBADF, EFAULT, EINVAL, EIO, EISDIR, ENOMEM}},
    {write_now, "pwritev2 RWF_NOWAIT", true, {EAGAIN, EINTR, EOPNOTSUPP}, {EBADF, EDQUOT, EFAULT, EFBIG, EINVAL, EIO, ENOSPC, EPERM, EPIPE}},
    {poll, "poll", false, {EINTR}, {EFAULT, EINVAL, ENOMEM}},
    {open, "open", false, {},
     {EACCES, EAGAIN, EDQUOT, EEXIST, EFAULT, EFBIG, EINTR, EINVAL, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENXIO, EOPNOTSUPP, EOVERFLOW, EPERM, EROFS, ETXTBSY}},
    {file_status, "fstat", false, {}, {EBADF, EFAULT, ENOMEM, EOVERFLOW}},
    {pipe, "pipe2", false, {}, {EFAULT, EINVAL, EMFILE, ENFILE}},
    {duplicate, "fcntl F_DUPFD_CLOEXEC", false, {}, {EBADF, EINVAL, EMFILE}},
    {status_flags, "fcntl F_GETFL", false, {EBADF}, {}},
    {set_blocking, "fcntl ~O_NONBLOCK", false, {}, {EBADF, EPERM, EINVAL}},
    {open_terminal, "posix_openpt", false, {}, {EAGAIN, ENXIO, EACCES, EINVAL, EMFILE, ENFILE, ENOENT, ENOSPC, ENOMEM}},
    {open_terminal_peer, "ioctl TIOCGPTPEER", false, {}, {EBADF, EINVAL, EIO, EMFILE, ENFILE, ENOTTY}},
    {set_window, "ioctl TIOCSWINSZ", false, {}, {EBADF, EFAULT, EINVAL, ENOTTY}},
    {get_window, "ioctl TIOCGWINSZ", false, {}, {EBADF, EFAULT, EINVAL, ENOTTY}},
    {map_stack, "mmap", false, {}, {EACCES, EAGAIN, EINVAL, ENFILE, ENOMEM, EPERM}},
    {open_signals, "signalfd", false, {}, {EBADF, EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM}},
    {start_child, "clone", false, {}, {EAGAIN, EINVAL, EMFILE, ENOMEM, ENOSPC, EPERM}},
    {signal_process, "pidfd_send_signal", false, {}, {EBADF, EINVAL, EPERM, ESRCH}},
    {signal_group, "kill", false, {}, {EINVAL, EPERM, ESRCH}},
    {reap, "waitid", false, {EINTR}, {ECHILD, EINVAL}},
    {splice, "splice", true, {EAGAIN, EINTR}, {EBADF, EINVAL, ENOMEM, ESPIPE, ECONNRESET, EPIPE}},
    {send_file, "sendfile", true, {EAGAIN, EINTR}, {EBADF, EFAULT, EINVAL, EIO, ENOMEM, EOVERFLOW, ESPIPE, ECONNRESET, EPIPE}},
  };
  // clang-format on
  return all;
}

/// The part of a run that its scenario knows.
struct faulty_run {
  eddy::event_loop& loop;
  eddy::manual_clock& clock;
  std::minstd_rand& random;  // gives the sizes of a shape: the same for each fault
  std::size_t shape;         // gives the options
  bool told = false;         // an error reached the program
  bool fresh = false;        // the fresh client is being served, and nothing fails any more
  std::string wrong = {};    // the first claim that does not hold

  /// A number from `least` to `most`.
  std::size_t any(std::size_t least, std::size_t most) {
    return least + random() % (most - least + 1);
  }
  /// One of so many options. As many shapes as there are combinations of options have them all.
  std::size_t option(std::size_t count) {
    const std::size_t chosen = shape % count;
    shape /= count;
    return chosen;
  }
  /// Notes an error. That of an old client is none of the fresh client.
  void tell(const std::error_code& /*error*/) { told = !fresh; }
  void expect(bool holds, std::string_view claim) {
    if (!holds && wrong.empty()) wrong = claim;
  }
  /// Bytes of which no two pieces are alike.
  std::string bytes(std::size_t size) {
    std::string all(size, '\0');
    const auto first = static_cast<std::uint32_t>(random());
    for (std::size_t i = 0; i < size; ++i) {
      all[i] = static_cast<char>('!' + (first + i * 7 + i / 93 * 31) % 93);
    }
    return all;
  }
  /// Notes bytes that came: they are the first of those that were sent, and all if nobody was told
  /// of an error.
  void expect_bytes(std::string_view sent, std::string_view came) {
    expect(sent.starts_with(came), "bytes came that were not sent in this order");
    expect(told || came == sent, "bytes are missing, and nobody was told");
  }
};

/// The runs of scenarios with a fault.
struct fault_totals {
  std::size_t scenarios = 0;
  std::size_t injected = 0;
  std::size_t survived = 0;

  fault_totals& operator+=(const fault_totals& other) {
    scenarios += other.scenarios;
    injected += other.injected;
    survived += other.survived;
    return *this;
  }
};

/// How many shapes a scenario is run with: the environment variable EDDY_FAULTS multiplies it.
inline std::size_t fault_shapes(std::size_t usual) {
  const char* const wish = std::getenv("EDDY_FAULTS");
  const std::size_t factor = wish == nullptr ? 1 : std::strtoul(wish, nullptr, 10);
  return SANITIZED != 0 && wish == nullptr ? 1 : std::max<std::size_t>(1, usual * factor);
}

/// A fault: the `kth` call of a kind fails, or moves less than it could; with `for_good`, all later
/// calls, too.
struct fault {
  const errors_of* of = nullptr;
  int error = 0;
  failing_system::share to = failing_system::share::all;
  std::size_t kth = 0;
  bool for_good = false;
  bool harmless = false;

  /// Whether the calls of this kind never succeed again. The kernel interrupts a call, has nothing
  /// ready, or moves one byte only so often.
  [[nodiscard]] bool endless() const {
    return for_good && error != EINTR && error != EAGAIN && error != 0;
  }
  [[nodiscard]] std::string words() const {
    if (of == nullptr) return "no fault";
    std::string all = of->name;
    all += " no. " + std::to_string(kth) + (for_good ? " and all later ones" : "");
    if (error != 0) return all + ": " + ::strerrorname_np(error);
    return all + (to == failing_system::share::one ? ": one byte or message" : ": all but one");
  }
};

/// Runs a scenario with each fault.
///
/// A `Scenario` is made from a `faulty_run&`, and from its `system&` if it wants that. The `system`
/// replaces the kernel, and is made with the clock or without. `work` runs with the fault, `again`
/// without: it serves a fresh client. Without `again`, a fresh client is served by `work` and
/// `check`. Both may throw a `std::system_error`, with which `work` is told of the fault. `check`
/// looks at what came. `harmless` may say of an error whether eddy goes on after it, and `possible`
/// whether the kernel may give it. `left` says what the run left in the process. `Scenario::shapes`
/// is the number of shapes that it is run with.
template <class Scenario>
class faults {
public:
  explicit faults(std::string_view name) : name_(name) {}

  fault_totals run() {
    const std::size_t shapes = fault_shapes(Scenario::shapes);
    for (std::size_t shape = 0; shape < shapes && failures_ < most_failures; ++shape) {
      if (!attempt(shape, {})) return {};
      const std::vector<std::size_t> counts = counts_;
      usual_calls_ = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
      for (const errors_of& e : all_errors()) run_call(shape, e, counts[index(e.kind)]);
    }
    MESSAGE(injected_, " faults injected, ", survived_, " survived");
    CHECK(injected_ > 0);
    return {1, injected_, survived_};
  }

private:
  using share = failing_system::share;
  static constexpr std::size_t most_failures = 8;
  static constexpr std::size_t burst = 30;  // of faults that the kernel does not repeat for ever

  /// The number of calls with which a run must do. A call that never succeeds may be tried for as
  /// long as a client waits: 640 accepts a second.
  [[nodiscard]] std::size_t most_calls(const fault& f) const {
    if (f.of == nullptr) return 2'000;
    return f.endless() ? 4 * usual_calls_ + 3'000 : 2 * usual_calls_ + 200;
  }

  static std::size_t index(call kind) { return static_cast<std::size_t>(kind); }

  void run_call(std::size_t shape, const errors_of& e, std::size_t count) {
    for (std::size_t kth = 1; kth <= count && failures_ < most_failures; ++kth) {
      for (const bool for_good : {false, true}) {
        for (const int error : e.harmless)
          inject(shape, {&e, error, share::all, kth, for_good, true});
        for (const int error : e.told) inject(shape, {&e, error, share::all, kth, for_good, false});
        if (!e.moves) continue;
        for (const share to : {share::one, share::all_but_one}) {
          inject(shape, {&e, 0, to, kth, for_good, true});
        }
      }
    }
  }

  void inject(std::size_t shape, fault f) {
    if constexpr (requires { Scenario::harmless(f); }) {
      if (f.error != 0) f.harmless = Scenario::harmless(f).value_or(f.harmless);
    }
    if constexpr (requires { Scenario::possible(f.of->kind, f.error); }) {
      if (!Scenario::possible(f.of->kind, f.error)) return;
    }
    if (failures_ < most_failures) attempt(shape, f);
  }

  /// Makes a run. Whether it held.
  bool attempt(std::size_t shape, const fault& f) {
    const std::size_t frames = eddy::frame_count();
    const std::size_t descriptors = open_descriptors();
    std::string wrong = run_once(shape, f);
    if (wrong.empty() && eddy::frame_count() != frames) wrong = "a coroutine is left";
    // A worker thread may hold a loop's wake-up descriptor a moment longer.
    for (int i = 0; i < 100'000 && open_descriptors() != descriptors; ++i) {
      std::this_thread::yield();
    }
    if (wrong.empty() && open_descriptors() != descriptors) wrong = "a descriptor is left open";
    const bool fired = faults_ != 0;
    injected_ += fired ? 1 : 0;
    if (wrong.empty()) {
      survived_ += fired ? 1 : 0;
      return true;
    }
    ++failures_;
    FAIL_CHECK(name_, ", shape ", shape, ", ", f.words(), ": ", wrong);
    return false;
  }

  /// Reports descriptors in another order, and notes a loop that never rests.
  class probe final : eddy::detail::loop_probe {
  public:
    // Half of the shapes of each option have another order.
    probe(eddy::event_loop& loop, std::uint64_t shape)
        : loop_probe(loop), loop_(loop), random_(shape), shuffles_(std::popcount(shape) % 2 != 0) {}
    bool spins = false;
    bool waits_in_vain = false;

  private:
    void at_point() override {
      if (++points_ < most_points) return;
      spins = true;
      points_ = 0;
      loop_.stop();
    }
    void choose(eddy::detail::list_node& arrived,
                eddy::detail::list_node& ready) noexcept override {
      if (!shuffles_) return ready.splice_back(arrived);
      eddy::detail::list_node order;
      while (arrived.linked()) {
        eddy::detail::list_node& next = *arrived.next;
        next.unlink();
        if ((random_() & 1) != 0) {
          order.push_back(next);
        } else {
          order.push_front(next);
        }
      }
      do {
        eddy::detail::list_node& next = *order.next;
        next.unlink();
        ready.push_back(next);
      } while (order.linked() && random_() % 4 != 0);
      arrived.splice_back(order);
    }
    void waited_in_vain() noexcept override {
      waits_in_vain = true;
      loop_.stop();
    }

    static constexpr std::size_t most_points = 500'000;
    eddy::event_loop& loop_;
    std::minstd_rand random_;
    bool shuffles_;
    std::size_t points_ = 0;
  };

  /// How a piece of work ended.
  struct end {
    bool hung = false;
    std::error_code error = {};
    std::string words = {};
  };

  /// Runs work to its end, or until nothing has happened for hours of the jumping clock.
  static end run_work(eddy::event_loop& loop, eddy::task<> work, std::size_t patience) {
    end how;
    eddy::future<> all;
    eddy::timer limit(loop);
    // A server goes on when the work has ended.
    struct stops_loop {
      stops_loop(eddy::event_loop& l, eddy::timer& t) noexcept : loop(l), limit(t) {}
      stops_loop(const stops_loop&) = delete;
      stops_loop& operator=(const stops_loop&) = delete;
      ~stops_loop() {
        limit.stop();
        loop.stop();
      }
      eddy::event_loop& loop;
      eddy::timer& limit;
    };
    const auto watched = [](eddy::task<> inner, eddy::event_loop& l,
                            eddy::timer& t) -> eddy::task<> {
      const stops_loop at_end(l, t);
      co_await std::move(inner);
    };
    std::size_t hours = 0;
    std::function<void()> expire = [&] {
      // Another process, or a thread of the kernel, needs real time.
      std::this_thread::yield();
      if (++hours < patience) return limit.start(std::chrono::hours(24), [&] { expire(); });
      how.hung = true;
      all = {};
      loop.stop();
    };
    limit.start(std::chrono::hours(24), [&] { expire(); });
    try {
      all = eddy::spawn(loop, watched(std::move(work), loop, limit));
      loop.run();
      if (!all) return how;
      how.hung = !all.ready();
      if (how.hung) {
        all = {};
        limit.stop();
        return how;
      }
      const auto ended = std::move(all).take();
      if (!ended) std::rethrow_exception(ended.error());
    } catch (const std::system_error& e) {
      how.error = e.code();
      how.words = e.what();
    } catch (const std::exception& e) {
      how.words = e.what();
    }
    return how;
  }

  /// Serves a fresh client by `again`, or by `work` and `check` if the scenario has no `again`.
  static end serve_again(eddy::event_loop& loop, Scenario& s) {
    if constexpr (requires { s.again(); }) {
      return run_work(loop, s.again(), Scenario::patience);
    } else {
      end how = run_work(loop, s.work(), Scenario::patience);
      s.check();
      return how;
    }
  }

  std::string run_once(std::size_t shape, const fault& f) {
    eddy::manual_clock clock(eddy::manual_clock::idle::jump);
    eddy::event_loop loop(clock);
    probe watch(loop, shape);
    std::minstd_rand random(static_cast<unsigned>(shape + 1));
    faulty_run run{loop, clock, random, shape};
    std::string wrong;
    {
      typename Scenario::system system(make_system(clock));
      Scenario s(make_scenario(run, system));
      system.limit_calls(most_calls(f));
      // Another kind of shape: each call moves a part.
      if (shape % 4 == 3) system.limit_bytes(run.any(700, 4'000));
      const std::vector<std::size_t> before = counts(system);
      faults_ = 0;
      if (f.of != nullptr) plan(system, f);
      const std::size_t faults_before = system.faults();
      const end how = run_work(loop, s.work(), Scenario::patience);
      faults_ = system.faults() - faults_before;
      if (f.of != nullptr) system.stop_failing(f.of->kind);
      counts_ = counts(system);
      for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] -= before[i];
      if (how.error) run.tell(how.error);
      if (how.hung && f.endless()) run.told = true;
      if (system.limit_passed()) wrong = "the work makes system calls without an end";
      if (watch.spins) wrong = "the loop spins";
      if (watch.waits_in_vain) wrong = "the loop waits in vain";
      if (wrong.empty() && how.hung && !f.endless()) wrong = "the work never ends";
      if (wrong.empty() && !how.error && !how.words.empty()) wrong = "an exception: " + how.words;
      if (wrong.empty() && run.told && faults_ == 0)
        wrong = "an error without a fault: " + how.words;
      if (wrong.empty() && run.told && f.harmless && !f.endless()) {
        wrong = "a harmless fault became an error: " + how.words;
      }
      s.check();
      if (wrong.empty()) wrong = run.wrong;
      if (wrong.empty()) {
        run.told = false;
        run.fresh = true;
        const end fresh = serve_again(loop, s);
        if (fresh.hung) wrong = "the fresh client is never served";
        if (!fresh.words.empty()) wrong = "the fresh client met an error: " + fresh.words;
        if (wrong.empty()) wrong = run.wrong;
      }
    }
    try {
      loop.run();
    } catch (const std::exception& e) {
      if (wrong.empty()) wrong = std::string("the loop threw ") + e.what();
    }
    const auto left = loop.count();
    if (wrong.empty() &&
        (left.ready != 0 || left.timers != 0 || left.waiting != 0 || left.tasks != 0)) {
      wrong = "this is left on the loop: " + loop.dump();
    }
    if constexpr (requires { Scenario::left(); }) {
      if (wrong.empty()) wrong = Scenario::left();
    }
    return wrong;
  }

  static auto make_system(const eddy::manual_clock& clock) {
    using system = typename Scenario::system;
    if constexpr (std::constructible_from<system, const eddy::manual_clock&>) {
      return system(clock);
    } else {
      static_cast<void>(clock);
      return system();
    }
  }
  static Scenario make_scenario(faulty_run& run, typename Scenario::system& system) {
    if constexpr (std::constructible_from<Scenario, faulty_run&, typename Scenario::system&>) {
      return Scenario(run, system);
    } else {
      static_cast<void>(system);
      return Scenario(run);
    }
  }

  static void plan(failing_system& system, const fault& f) {
    constexpr std::size_t always = SIZE_MAX / 2;
    const std::size_t times = !f.for_good ? 1 : f.endless() ? always : burst;
    if (f.error != 0) {
      system.fail_times(f.of->kind, f.error, f.kth, times);
    } else {
      system.shorten(f.of->kind, f.to, f.kth, times);
    }
  }

  static std::vector<std::size_t> counts(failing_system& system) {
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < index(call::kinds); ++i) {
      all.push_back(system.count(static_cast<call>(i)));
    }
    return all;
  }

  std::string name_;
  std::vector<std::size_t> counts_;
  std::size_t usual_calls_ = 0;
  std::size_t faults_ = 0;
  std::size_t injected_ = 0;
  std::size_t survived_ = 0;
  std::size_t failures_ = 0;
};

namespace {
/// The runs of all scenarios of this file.
fault_totals all_faults;
}  // namespace

/// Prints the totals of a file with so many scenarios, which must make so many runs with a fault.
inline void check_totals(const fault_totals& all, std::size_t scenarios, std::size_t least) {
  std::cout << "faults: " << all.injected << " injected, " << all.survived << " survived, in "
            << all.scenarios << " scenarios\n";
  CHECK(all.survived == all.injected);
  // A sanitizer, or a choice of test cases, makes fewer runs.
  if (SANITIZED == 0 && all.scenarios >= scenarios) CHECK(all.injected >= least);
}

/// A test case that runs a scenario with each fault.
#define FAULTS_TEST(scenario, name) \
  TEST_CASE(name) { all_faults += faults<scenario>(#scenario).run(); }

/// The last test case of a file: its `scenarios` make at least so many runs with a fault.
#define FAULTS_TOTAL(scenarios, least, name) \
  TEST_CASE(name) { check_totals(all_faults, scenarios, least); }
