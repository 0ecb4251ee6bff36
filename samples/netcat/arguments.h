// SPDX-License-Identifier: BSD-2-Clause
//
// The command line of netcat.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <eddy/net/address.h>
#include <eddy/net/unix_address.h>

struct arguments {
  /// Reads the command line. If it is wrong, prints why and ends the program with exit code 64.
  /// Errors: `std::system_error` if a path is too long for a Unix socket.
  arguments(int count, char** words);

  bool listen = false;
  std::optional<eddy::unix_address> path;  // of a Unix socket; none for TCP
  eddy::address local;                     // where to listen
  std::string host;                        // where to connect
  std::uint16_t port = 0;
  bool replace = false;  // a socket file at which nobody listens

  bool tls = false;
  std::string certificate;  // of the server, as the paths of files
  std::string key;
  std::string ca;    // the file with the certificates that the client trusts
  std::string name;  // for which the server's certificate must hold
  bool insecure = false;
};
