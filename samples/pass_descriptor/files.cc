// SPDX-License-Identifier: BSD-2-Clause
#include "files.h"

#include <array>
#include <cerrno>
#include <system_error>

#include <sys/mman.h>
#include <unistd.h>

eddy::unique_descriptor open_file(std::string_view name) {
  if (name != "greeting") return {};
  constexpr std::string_view text = "hello from an open file";
  eddy::unique_descriptor file(::memfd_create("greeting", MFD_CLOEXEC));
  if (!file || ::write(file.number(), text.data(), text.size()) < 0) {
    throw std::system_error(errno, std::generic_category(), "making a greeting");
  }
  return file;
}

std::string contents(const eddy::unique_descriptor& file) {
  std::array<char, 100> buffer;
  const ssize_t size = ::pread(file.number(), buffer.data(), buffer.size(), 0);
  if (size < 0) throw std::system_error(errno, std::generic_category(), "reading a file");
  return {buffer.data(), static_cast<std::size_t>(size)};
}
