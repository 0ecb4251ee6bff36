// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The way by which an error came: each `co_await` that it came out of, the
/// innermost first; file, line and function.
///
/// The first is the last `co_await` that the coroutine had come to which the
/// error left first: the operation that failed, or the one after which it was
/// thrown. Coroutines that eddy makes itself are left out, and of a way that is then
/// longer than 32 only the first 32 are told. If a coroutine catches an error and throws
/// another one, or the same one after another co_await, the way begins there.
///
/// It is for an error that has just come out of a `co_await`, of `block_on`, or
/// to `event_loop::on_exception`: the process keeps the ways of its last 64 errors.
/// Empty for one that has left no coroutine, or too long ago. Errors are told apart
/// by their type and by where they lie: one that has left no coroutine, or was given to a
/// `then` or a completer, may be told with the way of an earlier one that lay there. An error
/// that a promise is given keeps its way if the coroutine that gives it has just caught it.
///
///     } catch (const std::exception& e) {
///       std::fprintf(stderr, "%s\n%s", e.what(), eddy::await_trace_text().c_str());
///     }
///
/// A program that is ended by an error which nobody catches on its way out of
/// `block_on` prints it on stderr.
[[nodiscard]] std::vector<std::source_location> await_trace(
    const std::exception_ptr& error = std::current_exception());

/// The same in words: a line for each, as in `event_loop::dump`.
[[nodiscard]] std::string await_trace_text(
    const std::exception_ptr& error = std::current_exception());

}  // namespace eddy
