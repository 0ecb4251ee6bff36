// SPDX-License-Identifier: BSD-2-Clause
#include "names.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

[[noreturn]] void print_usage() {
  std::fprintf(stderr, "usage: resolve [-s ADDRESS:PORT] NAME...\n");
  std::exit(2);
}

}  // namespace

names::names(int argc, char** argv) {
  int next = 1;
  if (next < argc && std::string_view(argv[next]) == "-s") {
    if (next + 1 == argc) print_usage();
    const auto server = eddy::address::parse(argv[next + 1]);
    if (!server) print_usage();
    server_ = *server;
    next += 2;
  }
  names_.assign(argv + next, argv + argc);
  if (names_.empty()) names_ = {"localhost", "127.0.0.1", "::1"};
  lines_.resize(names_.size());
}

eddy::resolver_options names::options() const {
  eddy::resolver_options how;
  if (server_) how.servers = {*server_};
  how.share_questions = true;  // the same name may be there twice
  return how;
}

void names::found(std::size_t number, const eddy::result<std::vector<eddy::address>>& all) {
  if (!all) return failed(number, all.error().message());
  std::string line;
  for (const eddy::address& a : *all) line += ' ' + a.host();
  print(number, line);
}

void names::found(std::size_t number, const eddy::result<std::vector<eddy::srv_record>>& all) {
  if (!all) return failed(number, all.error().message());
  std::string line;
  for (const eddy::srv_record& r : *all) line += ' ' + r.host + ':' + std::to_string(r.port);
  print(number, line);
}

void names::late(std::size_t number) { failed(number, "no answer in time"); }

void names::failed(std::size_t number, const std::string& why) {
  failed_ = true;
  print(number, " (" + why + ')');
}

void names::print(std::size_t number, const std::string& line) {
  lines_[number] = line;
  for (; printed_ < size() && lines_[printed_]; ++printed_) {
    std::printf("%s:%s\n", names_[printed_].c_str(), lines_[printed_]->c_str());
  }
}
