#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both forms of the server that ends in good order, which must print the same.

    SAMPLES=build/samples tests/samples/shutdown.py
"""

import atexit
import os
import signal
import socket
import subprocess


class server:
    def __init__(self, style):
        program = os.path.join(os.environ["SAMPLES"], "shutdown_" + style)
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # if the test fails before its end
        word, address = self.line().split()
        assert word == "ready", word
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))

    def line(self):
        return self.process.stdout.readline().rstrip()

    def connect(self):
        """A connection that the server serves."""
        connection = socket.create_connection(self.address, timeout=30)
        connection.sendall(b"x")
        assert connection.recv(10) == b"x"
        return connection


def answer(connection):
    """All that comes until the end, which may be a reset."""
    got = b""
    try:
        while piece := connection.recv(100):
            got += piece
    except ConnectionResetError:
        pass
    return got


def ends(style, signals):
    s = server(style)
    idle, quick, slow = s.connect(), s.connect(), s.connect()
    quick.sendall(b"0123456789")
    slow.sendall(b"x" * 64)
    seen = s.connect()  # when this is answered, the server has read those
    s.process.send_signal(signals[0])
    printed = [s.line()]
    try:
        socket.create_connection(s.address, timeout=30)
        raise AssertionError("the server still accepts")
    except ConnectionRefusedError:
        pass
    for connection in idle, seen:
        assert answer(connection) == b""
    if len(signals) == 1:
        assert answer(quick) == b"0123456789"
    else:
        s.process.send_signal(signals[1])
        assert answer(quick) == b""
    assert answer(slow) == b""
    printed.append(s.line())
    assert s.process.wait(30) == 0
    for connection in idle, quick, slow, seen:
        connection.close()
    return printed


def main():
    for signals, expected in (
            ([signal.SIGTERM], "5 answered, 1 cancelled"),
            ([signal.SIGINT, signal.SIGTERM], "4 answered, 2 cancelled")):
        for style in "callback", "await":
            printed = ends(style, signals)
            print(style, printed)
            assert printed == ["stopping, 2 requests under way", expected], printed


main()
