// SPDX-License-Identifier: BSD-2-Clause
#include "jobs.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace {

[[noreturn]] void print_usage() {
  std::fprintf(stderr, "usage: run_many [-j NUMBER] COMMAND...\n");
  std::exit(2);
}

/// The output as whole lines.
void print_lines(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (!text.empty() && text.back() != '\n') std::putchar('\n');
}

}  // namespace

jobs::jobs(int argc, char** argv) {
  int next = 1;
  if (next < argc && std::string_view(argv[next]) == "-j") {
    if (next + 1 == argc) print_usage();
    const std::string_view number = argv[next + 1];
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), at_once_);
    if (error != std::errc() || end != number.data() + number.size() || at_once_ == 0) {
      print_usage();
    }
    next += 2;
  }
  commands_.assign(argv + next, argv + argc);
  if (commands_.empty()) {
    commands_ = {"sleep 0.2; echo slow", "echo quick", "echo warning >&2"};
  }
  ends_.resize(commands_.size());
}

eddy::process_options jobs::options(std::size_t number) const {
  eddy::process_options options("/bin/sh", {"-c", commands_[number]});
  options.input = eddy::redirection::null();
  options.place = eddy::process_options::group_of_its_own;
  return options;
}

void jobs::ended(std::size_t number, const eddy::result<eddy::run_result>& end) {
  failed_ = failed_ || !end || !end->status.success();
  ends_[number] = end;
  for (; printed_ < size() && ends_[printed_]; ++printed_) {
    print(printed_);
    ends_[printed_] = eddy::result<eddy::run_result>();  // frees the output
  }
}

void jobs::print(std::size_t number) const {
  const eddy::result<eddy::run_result>& end = *ends_[number];
  std::printf("== %s\n", commands_[number].c_str());
  if (!end) {
    std::printf("-- not run: %s\n", end.error().message().c_str());
  } else {
    print_lines(end->output);
    if (!end->error.empty()) {
      std::printf("-- standard error\n");
      print_lines(end->error);
    }
    if (end->truncated) std::printf("-- truncated\n");
    if (end->status.signal) {
      std::printf("-- ended by signal %d\n", *end->status.signal);
    } else if (!end->status.success()) {
      std::printf("-- exit code %d\n", *end->status.code);
    }
  }
  std::fflush(stdout);
}
