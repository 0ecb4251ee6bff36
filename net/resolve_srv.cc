// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/resolve_srv.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/name_steps.h>

namespace eddy {

namespace {

task<detail::reported<std::vector<srv_record>>> steps(std::string name) {
  auto finding = detail::find_services(std::move(name), detail::dns_options());
  auto found = co_await std::move(finding);
  if (!found) co_return std::unexpected(std::move(found.error()));
  detail::order_services(found->all);
  co_return std::move(found->all);
}

}  // namespace

detail::steps_operation<std::vector<srv_record>> resolve_srv(std::string name) {
  return detail::steps_operation(steps(std::move(name)));
}

pending_operation resolve_srv(event_loop& loop, std::string name,
                              handler<void(result<std::vector<srv_record>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolve_srv");
  return detail::delivery<std::vector<srv_record>>::start(loop, steps(std::move(name)),
                                                          std::move(on_resolved));
}

}  // namespace eddy
