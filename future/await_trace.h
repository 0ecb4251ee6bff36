// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Returns the locations of the `co_await`s that an error has passed through, innermost first.
///
///     } catch (const std::exception& e) {
///       std::fprintf(stderr, "%s\n%s", e.what(), eddy::await_trace_text().c_str());
///     }
///
/// The first location is the last `co_await` of the coroutine in which the error began: that of the
/// operation that failed, for instance. At most 32 locations are kept, without those in eddy's own
/// coroutines. A coroutine that catches an error begins a new trace if it throws another error, or
/// throws the same error after a further `co_await`. An error that a coroutine gives to a `promise`
/// keeps its trace.
///
/// Call this where an error comes out of `co_await` or `block_on`, or in
/// `event_loop::on_exception`. The process keeps the traces of its last 64 errors, and recognises
/// errors by type and address. An error has no trace if it never left a coroutine, or if a `then`
/// or a completer received it: the result is then empty, or the trace of an earlier error at the
/// same address.
///
/// If nobody catches an error of `block_on`, the program prints its trace on stderr at the end.
/// Threads: any.
[[nodiscard]] std::vector<std::source_location> await_trace(
    const std::exception_ptr& error = std::current_exception());

/// Gives the `await_trace` of an error as text, with one line for each `co_await`.
/// Threads: any.
[[nodiscard]] std::string await_trace_text(
    const std::exception_ptr& error = std::current_exception());

}  // namespace eddy
