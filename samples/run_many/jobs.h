// SPDX-License-Identifier: BSD-2-Clause
//
// The commands that both forms of run_many run, and the report of their ends.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <eddy/loop/result.h>
#include <eddy/net/process.h>
#include <eddy/net/run.h>

/// The commands of the command line. Their outputs are printed in the order of the commands, each
/// as soon as those before it are.
class jobs {
public:
  /// Reads `[-j NUMBER] COMMAND...`. Without commands, there are some to look at. Ends the program
  /// if the arguments are wrong.
  jobs(int argc, char** argv);

  [[nodiscard]] std::size_t size() const { return commands_.size(); }
  [[nodiscard]] std::size_t at_once() const { return at_once_; }
  [[nodiscard]] eddy::process_options options(std::size_t number) const;

  void ended(std::size_t number, const eddy::result<eddy::run_result>& end);

  /// 0 if each command exited with 0.
  [[nodiscard]] int exit_code() const { return failed_ ? 1 : 0; }

private:
  void print(std::size_t number) const;

  std::vector<std::string> commands_;
  std::vector<std::optional<eddy::result<eddy::run_result>>> ends_;
  std::size_t at_once_ = 4;
  std::size_t printed_ = 0;
  bool failed_ = false;
};
