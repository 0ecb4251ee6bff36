// SPDX-License-Identifier: BSD-2-Clause

#include "arguments.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "../daemon/daemon.h"

tls_echo_arguments read_arguments(int argc, char** argv) {
  using namespace std::string_view_literals;
  if (argc < 5 || argv[1] != "--certificate"sv || argv[3] != "--key"sv) {
    print_error("usage: %s --certificate FILE --key FILE [--listen ADDRESS:PORT]", argv[0]);
    std::exit(2);
  }
  tls_echo_arguments all;
  all.tls.certificate_file = argv[2];
  all.tls.key_file = argv[4];
  argv[4] = argv[0];
  all.listen = listen_address(argc - 4, argv + 4);
  return all;
}

server_identity::server_identity(eddy::event_loop& loop, const eddy::tls_server_options& options)
    : context_(options), hang_up_(loop, SIGHUP) {
  hang_up_.start([this] { reload(); });
  hang_up_.background(true);
}

void server_identity::reload() {
  try {
    context_.reload();
    print_line("reloaded");
  } catch (const std::exception& e) {
    print_error("tls_echo: the certificate stays as it is: %s", e.what());
  }
}
