// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <utility>

#include <eddy/net/process.h>

/// Runs a command by the shell.
inline eddy::process_options shell(std::string command) {
  return eddy::process_options("/bin/sh", {"-c", std::move(command)});
}
