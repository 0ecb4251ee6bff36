// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#if __cplusplus <= 202002L
#error "eddy needs C++23: compile with -std=c++23"
// There is no such file, so compilers stop here, without the pages of errors that would follow.
#include <eddy/needs/c++23>
#endif
