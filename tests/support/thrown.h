// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <string>
#include <system_error>

#include <eddy/loop/event_loop.h>

/// The words of the exception that `work` throws, or an empty string.
template <class Work>
std::string words_from(Work work) {
  try {
    work();
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}

/// The code of the error that `work` throws, or zero.
template <class Work>
std::error_code code_from(Work work) {
  try {
    work();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

/// The words of the error of taking over `descriptor`, with "N" for its number.
template <class Socket>
std::string refusal_of(eddy::event_loop& loop, int descriptor) {
  std::string words = words_from([&] { const Socket made(loop, descriptor); });
  const std::string number = std::to_string(descriptor);
  if (const auto at = words.find(number); at != std::string::npos) {
    words.replace(at, number.size(), "N");
  }
  return words;
}
