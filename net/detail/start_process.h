// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no public header includes it.

#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/types.h>

#include <eddy/net/detail/system.h>
#include <eddy/net/process.h>

namespace eddy::detail {

/// A child that was started, and the parent's ends of its pipes.
struct started_process {
  pid_t pid = -1;
  socket_descriptor pidfd;
  std::array<socket_descriptor, 3> ends;  // of input, output and error, where these are pipes
  socket_descriptor terminal;             // the master, if the child has a pseudo-terminal
};

/// Starts the program that `options` describe.
///
/// The child shares this process's memory until it executes the program, and this thread waits as
/// long. Everything that needs memory is therefore made before, and the child makes only system
/// calls. No handler of a signal runs in the child: all signals are blocked until their actions
/// are the default ones.
/// Errors: `std::system_error` whose text names the program and the step; `std::bad_alloc`.
[[nodiscard]] started_process start_process(const process_options& options);

/// Throws the error of a start: its text names the program, the step and the object of the step,
/// which may be empty.
[[noreturn]] void fail_start(const std::string& program, std::string_view step, std::error_code why,
                             std::string_view object = {});

}  // namespace eddy::detail
