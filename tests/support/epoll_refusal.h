// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Has the kernel's epoll sets refuse the next `count` descriptors that are new to
/// them, or that one so often, as at the limit of
/// /proc/sys/fs/epoll/max_user_watches. Ends with its scope.
class epoll_refusal {
public:
  explicit epoll_refusal(int count, int descriptor = -1) noexcept;
  epoll_refusal(const epoll_refusal&) = delete;
  epoll_refusal& operator=(const epoll_refusal&) = delete;
  ~epoll_refusal();
};
