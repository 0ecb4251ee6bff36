// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/reaped_children.h>

#include <algorithm>
#include <new>

#include <sys/wait.h>
#include <unistd.h>

namespace eddy::detail {

reaped_children::reaped_children(struct ev_loop* default_loop) : ev_(default_loop) {
  ev_child_init(
      &any_,
      [](struct ev_loop*, ev_child* w, int) {
        static_cast<reaped_children*>(w->data)->note(w->rpid, w->rstatus);
      },
      0, 0);
  any_.data = this;
  ev_child_start(ev_, &any_);
  ev_unref(ev_);
}

reaped_children::~reaped_children() {
  ev_ref(ev_);
  ev_child_stop(ev_, &any_);
}

bool reaped_children::end::is_own() const noexcept { return parent == ::getpid(); }

void reaped_children::take(::pid_t pid, std::list<end>& to) noexcept {
  const auto found =
      std::ranges::find_if(ends_, [pid](const end& one) { return one.pid == pid && one.is_own(); });
  if (found != ends_.end()) to.splice(to.end(), ends_, found);
}

void reaped_children::give_back(std::list<end>& from) noexcept {
  // The pid may belong to a later process by now; the end of that process is kept.
  std::erase_if(from, [&](const end& one) {
    return std::ranges::find(ends_, one.pid, &end::pid) != ends_.end();
  });
  ends_.splice(ends_.end(), from);
}

void reaped_children::note(::pid_t pid, int status) noexcept {
  if (!WIFEXITED(status) && !WIFSIGNALED(status)) return;
  try {
    std::list<end> earlier;  // the end of an earlier process with this pid
    take(pid, earlier);
    ends_.push_back({pid, status, ::getpid()});
  } catch (const std::bad_alloc&) {
    return;
  }
  if (ends_.size() > most) ends_.pop_front();
}

}  // namespace eddy::detail
