// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Makes the next `count` calls of epoll_create1 and inotify_init1 fail with EMFILE, as if other
/// threads had taken all free descriptors. The destructor restores both calls.
class descriptor_refusal {
public:
  explicit descriptor_refusal(int count) noexcept;
  descriptor_refusal(const descriptor_refusal&) = delete;
  descriptor_refusal& operator=(const descriptor_refusal&) = delete;
  ~descriptor_refusal();
};
