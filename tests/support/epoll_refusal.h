// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Makes the next `count` EPOLL_CTL_ADD calls fail with ENOSPC, as at the limit of
/// /proc/sys/fs/epoll/max_user_watches. With `descriptor`, only calls for that descriptor
/// fail. The destructor restores epoll_ctl.
class epoll_refusal {
public:
  explicit epoll_refusal(int count, int descriptor = -1) noexcept;
  epoll_refusal(const epoll_refusal&) = delete;
  epoll_refusal& operator=(const epoll_refusal&) = delete;
  ~epoll_refusal();
};
