#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both UDP echo servers alike: sizes, many clients, peers that are gone, signals.

    SAMPLES=build/samples tests/samples/udp_echo.py

Uses socat as one more client if there is one.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import time


class server:
    def __init__(self, style, host="127.0.0.1"):
        program = os.path.join(os.environ["SAMPLES"], "udp_echo_" + style)
        self.process = subprocess.Popen(
            [program, "--listen", f"{host}:0"], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # if the test fails before its end
        word, address = self.process.stdout.readline().split()
        assert word == "ready", word
        self.port = int(address.rsplit(":", 1)[1])

    def alive(self):
        """The numbers that the server counts, asked for by SIGUSR1."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def comes_back_to(self, before):
        """Counts what it counted before, as soon as it has noticed that all is done."""
        end = time.monotonic() + 30
        while (now := self.alive()) | {"watchers": 0} != before | {"watchers": 0}:
            assert time.monotonic() < end, f"{before} before, {now} after"

    def ends(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.process.returncode


def client(host="127.0.0.1"):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.bind((host, 0))
    return s


def echoes(s, to, sent):
    s.sendto(sent, to)
    got, source = s.recvfrom(65536)
    assert got == sent, f"{len(got)} bytes of {len(sent)}"
    assert source == to, f"{source} answers for {to}"


def sizes(to):
    with client() as s:
        for size in 0, 1, 1400, 9000, 65507:
            echoes(s, to, os.urandom(size))


def several_clients(to):
    clients = [client() for _ in range(100)]
    for number, s in enumerate(clients):
        s.sendto(b"%d" % number, to)
    for number, s in enumerate(clients):
        assert s.recv(64) == b"%d" % number
        s.close()


def gone_clients(to):
    """A client that is gone before its answer comes disturbs no other one."""
    with client() as s:
        for _ in range(100):
            with client() as gone:
                gone.sendto(b"x", to)
            echoes(s, to, b"still there")


def answers_from_the_address_asked(port):
    with client() as s:
        echoes(s, ("127.0.0.7", port), b"who are you")


def answers_a_broadcast(port):
    """The answer comes from the loopback address, because no answer comes from a broadcast one."""
    with client() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.sendto(b"who is there", ("127.255.255.255", port))
        assert s.recvfrom(64) == (b"who is there", ("127.0.0.1", port))


def socat(to):
    if shutil.which("socat") is None:
        return print("without socat")
    ended = subprocess.run(["socat", "-t5", "-", f"UDP:{to[0]}:{to[1]},shut-null"],
                           input=b"from socat", stdout=subprocess.PIPE, timeout=60, check=True)
    assert ended.stdout == b"from socat", ended.stdout


for style in "callback", "await":
    s = server(style)
    to = ("127.0.0.1", s.port)
    before = s.alive()
    assert before["buffered"] == 0, before
    sizes(to)
    several_clients(to)
    gone_clients(to)
    socat(to)
    s.comes_back_to(before)
    s.ends()

    s = server(style, "0.0.0.0")
    answers_from_the_address_asked(s.port)
    answers_a_broadcast(s.port)
    s.process.send_signal(signal.SIGHUP)
    answers_from_the_address_asked(s.port)
    s.ends()
    print(f"udp_echo {style}: right")
