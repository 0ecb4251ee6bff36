// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/resolve_srv.h>
#include <eddy/net/resolver.h>

/// The names of the command line, and what was found for them.
class names {
public:
  /// Parses `[-s ADDRESS:PORT] NAME...`. Prints a usage message and ends the program if that fails.
  names(int argc, char** argv);

  /// The options for the resolver: the name server of `-s`.
  [[nodiscard]] eddy::resolver_options options() const;
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  [[nodiscard]] const std::string& name(std::size_t number) const { return names_[number]; }
  /// Whether a name is that of a service, such as _imaps._tcp.example.org.
  [[nodiscard]] bool is_service(std::size_t number) const {
    return names_[number].starts_with('_');
  }

  /// Notes what was found, and prints a line for each name in the order of the command line.
  void found(std::size_t number, const eddy::result<std::vector<eddy::address>>& all);
  void found(std::size_t number, const eddy::result<std::vector<eddy::srv_record>>& all);
  /// Notes that the time for a name is over.
  void late(std::size_t number);

  /// 0 if something was found for every name.
  [[nodiscard]] int exit_code() const { return failed_ ? 1 : 0; }

private:
  void failed(std::size_t number, const std::string& why);
  void print(std::size_t number, const std::string& line);

  std::optional<eddy::address> server_;
  std::vector<std::string> names_;
  std::vector<std::optional<std::string>> lines_;
  std::size_t printed_ = 0;
  bool failed_ = false;
};
