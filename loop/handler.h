// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <functional>

namespace eddy {

/// What the loop calls back: any callable of that signature, moved in and owned.
///
/// A callable that captures up to three pointers is stored inline; a larger
/// one is allocated. It may throw: see `event_loop::run`.
template <class Signature>
using handler = std::move_only_function<Signature>;

}  // namespace eddy
