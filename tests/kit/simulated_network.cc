// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/simulated_network.h>

#include <utility>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>
#include <eddy/testing/detail/simulated_kernel.h>

namespace eddy {

simulated_network::simulated_network(event_loop& loop, const options& how) {
  if (how.buffer_size == 0) {
    detail::misuse("a simulated_network with a buffer_size of 0 could deliver no byte");
  }
  const detail::failing_allocations::pardon own;
  kernel_ = std::make_unique<detail::simulated_kernel>(loop, how);
}

simulated_network::~simulated_network() = default;

void simulated_network::add_name(std::string name, std::vector<address> addresses) {
  const detail::failing_allocations::pardon own;
  kernel_->add_name(std::move(name), std::move(addresses));
}

void simulated_network::set_host(const address& at, host how) {
  const detail::failing_allocations::pardon own;
  kernel_->wire().set_host(at, how);
}

void simulated_network::partition(const address& a, const address& b) {
  const detail::failing_allocations::pardon own;
  kernel_->wire().partition(a, b);
}

void simulated_network::heal(const address& a, const address& b) {
  const detail::failing_allocations::pardon own;
  kernel_->wire().heal(a, b);
}

void simulated_network::heal() {
  const detail::failing_allocations::pardon own;
  kernel_->wire().heal();
}

void simulated_network::reset_all() { kernel_->reset_all(); }

std::size_t simulated_network::open_sockets() const noexcept { return kernel_->open_sockets(); }

std::string simulated_network::trace() const {
  const detail::failing_allocations::pardon own;
  return kernel_->trace();
}

}  // namespace eddy
