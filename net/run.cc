// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/run.h>

#include <algorithm>
#include <span>
#include <system_error>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace {

using detail::failure;
using detail::redirection_access;
using detail::reported;

constexpr std::size_t buffer_size = std::size_t{16} * 1024;

/// The words of an error without the system's own: a `failure` adds these again.
std::string words_of(const std::system_error& e) {
  std::string words = e.what();
  const std::string own = ": " + e.code().message();
  if (words.ends_with(own)) words.resize(words.size() - own.size());
  return words;
}

// `drive` awaits these coroutines, and `run_steps` awaits `drive`: each in the frame that owns
// whatever the coroutine refers to.
// NOLINTBEGIN(cppcoreguidelines-avoid-reference-coroutine-parameters)
task<> feed(pipe_writer& to, const std::string& input) {
  const auto sent = co_await as_result(to.write(input));
  to.close();
  if (!sent && sent.error() != std::errc::broken_pipe) {
    detail::throw_error(sent.error(), "write the input of a process");
  }
}

task<> collect(pipe_reader& from, std::string& into, std::size_t limit, bool& truncated) {
  std::vector<char> buffer(buffer_size);
  for (;;) {
    const std::size_t n = co_await from.read(std::span(buffer));
    if (n == 0) break;
    const std::size_t kept = std::min(n, limit - into.size());
    into.append(buffer.data(), kept);
    truncated = truncated || kept < n;
  }
}

task<> none() { co_return; }

task<run_result> drive(process& child, const process_options& how, const std::string& input,
                       std::size_t limit) {
  run_result r;
  auto feeding = redirection_access::pipes(how.input) ? feed(child.input(), input) : none();
  auto output = redirection_access::pipes(how.output)
                    ? collect(child.output(), r.output, limit, r.truncated)
                    : none();
  auto error = redirection_access::pipes(how.error)
                   ? collect(child.error(), r.error, limit, r.truncated)
                   : none();
  auto all = join(std::move(feeding), std::move(output), std::move(error));
  co_await std::move(all);
  r.status = co_await child.wait();
  co_return r;
}

// NOLINTEND(cppcoreguidelines-avoid-reference-coroutine-parameters)

task<reported<run_result>> run_steps(process_options options, std::string input,
                                     std::size_t limit) {
  if (options.terminal) {
    detail::misuse("run was given a pseudo-terminal: start a process and read its terminal");
  }
  if (!input.empty()) options.input = redirection::pipe();
  if (redirection_access::inherits(options.output)) options.output = redirection::pipe();
  if (redirection_access::inherits(options.error)) options.error = redirection::pipe();
  std::error_code error;
  std::string words;
  try {
    process child(detail::current_loop("run"), options);
    auto driving = drive(child, options, input, limit);
    run_result r = co_await std::move(driving);
    co_return reported<run_result>(std::move(r));
  } catch (const std::system_error& e) {
    error = e.code();
    words = words_of(e);
  }
  co_return std::unexpected(failure(error, std::move(words)));
}

}  // namespace

detail::steps_operation<run_result> run(process_options options, std::string input,
                                        std::size_t limit) {
  return detail::steps_operation<run_result>(
      run_steps(std::move(options), std::move(input), limit));
}

pending_operation run(event_loop& loop, process_options options, std::string input,
                      std::size_t limit, handler<void(result<run_result>)> on_end) {
  detail::expect_handler(on_end, "run");
  return detail::delivery<run_result>::start(
      loop, run_steps(std::move(options), std::move(input), limit), std::move(on_end));
}

pending_operation run(event_loop& loop, process_options options,
                      handler<void(result<run_result>)> on_end) {
  return run(loop, std::move(options), {}, default_output_limit, std::move(on_end));
}

}  // namespace eddy
