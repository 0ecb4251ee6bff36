// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Receives the await tree from `describe` functions, node by node.
///
///     void describe(eddy::description& to) const override {
///       to.add("all replies");
///       const eddy::description::below all(to);
///       for (const peer& p : peers_) to.add("a reply of " + p.name());
///     }
///
/// The words of a node may hold any bytes, such as those that a peer sent: they stay the words of
/// that node. In text, control characters are escaped and leading spaces are left out. In JSON,
/// control characters and bytes that are not UTF-8 are escaped.
///
/// Lifetime: eddy makes the description, and destroys it after `describe` has returned.
class description {
public:
  description(const description&) = delete;
  description& operator=(const description&) = delete;

  /// Adds a node. Its words say what is waited for.
  [[gnu::cold]] void add(std::string_view words);

  /// While an object of this class lives, new nodes are below the node that was added last.
  class below {
  public:
    explicit below(description& to) noexcept : to_(to) { ++to_.depth_; }
    below(const below&) = delete;
    below& operator=(const below&) = delete;
    ~below() { --to_.depth_; }

  private:
    description& to_;
  };

  /// Gives the node that is added next a location in the source, such as that of a `co_await`.
  ///
  /// Lifetime: `function` and `file` must live until that node is added.
  void set_location(std::string_view function, std::string_view file, unsigned line) noexcept {
    next_.function = function;
    next_.file = file;
    next_.line = line;
  }
  /// Puts `words` before the words of the node that is added next.
  void set_prefix(std::string words) noexcept { prefix_ = std::move(words); }

  /// The level of the node that is added next.
  [[nodiscard]] int depth() const noexcept { return depth_; }

  /// Returns whether this is the first call with `mark` in this description.
  ///
  /// An object that several others wait for keeps a mark, which is 0 at first. The object adds the
  /// nodes below its own only if `is_first` returns true. Otherwise the description of n layers,
  /// each awaited by all objects of the next layer, would grow exponentially with n.
  [[nodiscard]] bool is_first(std::uint64_t& mark) const noexcept {
    return std::exchange(mark, number_) != number_;
  }

protected:
  struct node {
    std::string_view function, file;
    unsigned line = 0;  // 0 if it has no location
    std::string_view words;
    int depth = 0;  // at most one more than that of the node before
  };

  /// The first node is at this level.
  explicit description(int depth) noexcept;
  ~description() = default;

  virtual void write(const node& added) = 0;

private:
  int depth_;
  int last_;  // the depth of the node that was added last
  std::uint64_t number_;
  std::string prefix_;
  node next_;
};

}  // namespace eddy
