// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_directory.h"

/// Runs a redis-server in a temporary directory. The server listens on a Unix socket in the
/// directory and on a free loopback port.
///
/// Lifetime: the destructor kills the server. The kernel kills it if the test is killed.
class redis_server {
public:
  /// The path of redis-server, or an empty string if `$PATH` has none.
  static std::string program() {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');) {
      const std::string file = folder + "/redis-server";
      if (::access(file.c_str(), X_OK) == 0) return file;
    }
    return {};
  }

  redis_server() { start(); }
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;
  ~redis_server() { stop(); }

  [[nodiscard]] std::string socket() const { return directory_ / "socket"; }
  [[nodiscard]] int port() const noexcept { return port_; }
  [[nodiscard]] bool runs() const noexcept { return pid_ > 0; }

  /// Starts the server and returns when it listens.
  void start() {
    // Another process may take the port before the server binds it.
    for (int attempts = 0; attempts < 10; ++attempts) {
      port_ = free_port();
      if (launch()) return;
      stop();
    }
    throw std::runtime_error("redis-server does not start");
  }

  /// Kills the server. Its Unix socket stays in the directory.
  void stop() {
    if (!runs()) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

private:
  static int free_port() {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    ::bind(descriptor, reinterpret_cast<sockaddr*>(&name), size);
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size);
    ::close(descriptor);
    return ntohs(name.sin_port);
  }

  bool launch() {
    std::vector<std::string> words = {program(),
                                      "--bind",
                                      "127.0.0.1",
                                      "--port",
                                      std::to_string(port_),
                                      "--unixsocket",
                                      socket(),
                                      "--dir",
                                      directory_.path(),
                                      "--save",
                                      "",
                                      "--appendonly",
                                      "no",
                                      "--daemonize",
                                      "no"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    int log[2];
    if (::pipe2(log, O_CLOEXEC) != 0) return false;
    const ::pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      ::dup2(log[1], STDOUT_FILENO);
      ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
      ::execv(arguments[0], arguments.data());
      ::_exit(1);
    }
    ::close(log[1]);
    std::string text;
    char some[4096];
    bool listens = false;
    for (ssize_t n = 0; !listens && (n = ::read(log[0], some, sizeof some)) > 0;) {
      text.append(some, static_cast<std::size_t>(n));
      listens = text.contains("eady to accept connections");
    }
    ::close(log[0]);
    return listens;
  }

  temporary_directory directory_;
  int port_ = 0;
  ::pid_t pid_ = -1;
};
