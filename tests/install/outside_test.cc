// SPDX-License-Identifier: BSD-2-Clause
// A test outside the tree, which finds the installed testing kit.
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/testing/every_point.h>
#include <eddy/testing/failing_new.h>
#include <eddy/testing/simulated_network.h>

namespace {

eddy::task<> two_sleeps(eddy::trial&) {
  co_await eddy::sleep(std::chrono::seconds(1));
  co_await eddy::sleep(std::chrono::seconds(1));
}

eddy::task<> listen_and_connect(eddy::event_loop& loop) {
  const eddy::address at(eddy::address::v4_bytes{192, 0, 2, 1}, 80);
  const eddy::tcp_listener listener(loop, at);
  const eddy::tcp_stream stream = co_await eddy::connect(at);
  if (stream.peer_address() != at) throw std::runtime_error("connected to another address");
}

void use_network_in_memory() {
  eddy::event_loop loop;
  const eddy::simulated_network network(loop);
  eddy::block_on(loop, listen_and_connect(loop));
}

}  // namespace

int main() {
  use_network_in_memory();
  const eddy::every_point_report found = eddy::every_point<two_sleeps>();
  std::printf("%zu points, %zu allocations, %zu runs\n", found.points, found.allocations,
              found.runs);
  for (const std::string& failure : found.failures) std::printf("%s\n", failure.c_str());
  return found.points != 0 && found.allocations != 0 && found.failures.empty() ? 0 : 1;
}
