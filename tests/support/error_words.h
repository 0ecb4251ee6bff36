// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <string>

/// The exception's `what()`, or an empty string without an exception.
inline std::string words_of(const std::exception_ptr& error) {
  try {
    if (error != nullptr) std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}
