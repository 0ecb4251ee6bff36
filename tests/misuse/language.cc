// SPDX-License-Identifier: BSD-2-Clause
// says: eddy needs C++23
// mistake: --std=c++20
#include <eddy/future/task.h>

eddy::task<> quiet();
