// SPDX-License-Identifier: BSD-2-Clause

#include "arguments.h"

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

void reload(eddy::tls_server_context& context) {
  try {
    context.reload();
    print_line("reloaded");
  } catch (const std::exception& e) {
    print_error("tls_echo: the certificate stays as it is: %s", e.what());
  }
}
