// SPDX-License-Identifier: BSD-2-Clause
//
// Serves two pages on loopback, for the sample to download.
#pragma once

#include <array>
#include <cstddef>
#include <list>
#include <string>

#include <eddy/future/future.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

/// Serves /tea and /coffee, each in pieces and after a delay of its own.
///
/// Lifetime: the loop must outlive the server. Destroying the server closes all connections.
class page_server {
public:
  /// Errors: `std::system_error` if no loopback port is available.
  explicit page_server(eddy::event_loop& loop);

  [[nodiscard]] std::string url(int which) const;
  [[nodiscard]] const std::string& body(int which) const;

private:
  eddy::task<> accept_all();
  eddy::task<> serve(eddy::tcp_stream stream) const;

  std::array<std::string, 2> bodies_;
  eddy::event_loop& loop_;
  eddy::tcp_listener listener_;
  std::list<eddy::future<>> connections_;
  eddy::future<> accepting_;
};
