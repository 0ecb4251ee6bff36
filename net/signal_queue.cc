// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/signal_queue.h>

#include <cstddef>
#include <utility>

#include <sys/signalfd.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

constexpr int largest_signal = 64;

}  // namespace

std::optional<int> detail::signal_call::attempt(open_socket& socket) {
  // One signal: those behind it must stay in the kernel until they are delivered.
  signalfd_siginfo got{};
  const ssize_t n = uninterrupted([&] { return os().read(socket.descriptor(), &got, sizeof got); });
  if (n < 0) return note_failed(socket, which);
  socket.set_exhausted(which, false);
  info_.number = static_cast<int>(got.ssi_signo);
  info_.code = got.ssi_code;
  info_.sender = static_cast<::pid_t>(got.ssi_pid);
  info_.user = got.ssi_uid;
  info_.value = got.ssi_int;
  info_.pointer = reinterpret_cast<void*>(got.ssi_ptr);  // NOLINT(performance-no-int-to-ptr)
  return 0;
}

signal_queue::signal_queue(event_loop& loop, std::initializer_list<int> numbers) {
  loop.check_thread();
  const std::uint64_t blocked = detail::os().blocked_signals();
  std::uint64_t wanted = 0;
  for (const int number : numbers) {
    const bool possible = number >= 1 && number <= largest_signal;
    const std::uint64_t bit = possible ? std::uint64_t{1} << (number - 1) : 0;
    if ((blocked & bit) == 0) {
      detail::misuse(detail::text({"a signal_queue needs signal ", number,
                                   " to be blocked by this thread: use pthread_sigmask"})
                         .c_str());
    }
    wanted |= bit;
  }
  detail::socket_descriptor descriptor(detail::os().open_signals(wanted), "make a signal_queue");
  socket_ = detail::make_socket(loop, std::move(descriptor), address(), false);
}

void signal_queue::receive(handler<void(result<signal_info>)> on_signal) {
  detail::expect_handler(on_signal, "signal_queue::receive");
  detail::callback_operation<detail::signal_call>::start(socket(), {}, std::move(on_signal));
}

std::optional<result<signal_info>> signal_queue::try_receive() {
  return detail::once(socket(), detail::signal_call());
}

}  // namespace eddy
