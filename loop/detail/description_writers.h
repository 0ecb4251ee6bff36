// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>

#include <eddy/loop/description.h>

namespace eddy::detail {

/// Writes a line for each node, indented by two spaces a level.
class text_writer final : public description {
public:
  explicit text_writer(std::string& out, int depth = 0) noexcept : description(depth), out_(out) {}
  [[gnu::cold]] void write(const node& added) override;

private:
  std::string& out_;
};

/// Writes all nodes as text, and also in one line of about 4 KiB at most:
/// "f at x.cc:1: a task > g at x.cc:2: yield | a callback".
class limit_writer final : public description {
public:
  limit_writer() noexcept : description(0) {}
  [[gnu::cold]] void write(const node& added) override;

  std::string text;
  std::string line;

private:
  text_writer text_{text};
  int depth_before_ = 0;
};

/// Writes a JSON array of the trees. A node has `function`, `file` and `line` if it has a location,
/// `waits_for`, and `below` if there are nodes below it.
class json_writer final : public description {
public:
  explicit json_writer(std::string& out) : description(1), out_(out) { out += '['; }
  [[gnu::cold]] void write(const node& added) override;
  /// Ends the array.
  [[gnu::cold]] void close();

private:
  /// Ends the nodes that are deeper.
  void close_to(int depth);

  std::string& out_;
  int open_ = 0;  // the depth of the node that was written last; it is not closed yet
};

}  // namespace eddy::detail
