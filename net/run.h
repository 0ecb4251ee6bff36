// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <eddy/loop/child_process.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/process.h>

namespace eddy {

/// The exit status of a program that `run` ran, and its output.
struct run_result {
  run_result() = default;

  exit_status status;
  std::string output;      // from the standard output
  std::string error;       // from the standard error
  bool truncated = false;  // there was more output or error than the limit
};

/// The most bytes that `run` keeps of each of the output and the error, unless told otherwise.
inline constexpr std::size_t default_output_limit = std::size_t{1} << 20;

/// Runs a program to its end, and returns its exit status and its output.
///
///     process_options options("date", {"+%Y"});
///     const run_result r = co_await run(std::move(options));
///
/// The child reads `input` from its standard input, and then the end. If `input` is empty,
/// `options` choose the child's input. The output and the error are collected unless `options`
/// redirect them elsewhere. `run` reads, and discards, what exceeds `limit` bytes of either, so
/// that the child does not block. An exit code other than 0 is no error.
///
/// `run` completes when the child has ended and its pipes are closed. A process that the child
/// leaves behind with these pipes delays that.
///
/// Errors: `std::system_error` if the program can't be started, or reading fails. A child that does
/// not read all its input is no error. `options.terminal` aborts the program: use `process`.
/// Cancelling: the child is ended as the destructor of `process` ends it.
[[nodiscard]] detail::steps_operation<run_result> run(process_options options,
                                                      std::string input = {},
                                                      std::size_t limit = default_output_limit);

/// Runs a program to its end, as the awaited `run` does, and calls `on_end` with its exit status
/// and its output, or an error. Destroying the returned object cancels the operation. Errors:
/// `std::bad_alloc`.
[[nodiscard]] pending_operation run(event_loop& loop, process_options options, std::string input,
                                    std::size_t limit, handler<void(result<run_result>)> on_end);
/// Runs a program without input, as the awaited `run` does, and calls `on_end` with its exit status
/// and its output, or an error. Destroying the returned object cancels the operation.
/// Errors: `std::bad_alloc`.
[[nodiscard]] pending_operation run(event_loop& loop, process_options options,
                                    handler<void(result<run_result>)> on_end);

}  // namespace eddy
