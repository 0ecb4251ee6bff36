#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both echo servers alike: bytes, many connections, idle ones, signals.

    SAMPLES=build/samples tests/samples/echo.py [CONNECTIONS]     100000 if not given
"""

import atexit
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time


class server:
    def __init__(self, style):
        program = os.path.join(os.environ["SAMPLES"], "echo_" + style)
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # if the test fails before its end
        word, address = self.process.stdout.readline().split()
        assert word == "ready", word
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))

    def connect(self):
        return socket.create_connection(self.address, timeout=30)

    def alive(self):
        """The numbers that the server counts, asked for by SIGUSR1."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def alive_when(self, condition):
        """The same, once what has just ended has been noticed.

        That takes a while where the kernel drops packets of a burst, even on
        loopback, and sends them again.
        """
        end = time.monotonic() + 30
        while time.monotonic() < end:
            now = self.alive()
            if condition(now):
                return now
        raise AssertionError(f"still {now}")

    def end(self):
        return self.process.wait(30)

    def status(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return dict(line.split(":") for line in status if line.count(":") == 1)

    def rest(self):
        """Whether it sleeps, and how often it has gone to sleep so far."""
        fields = self.status()
        return fields["State"].split()[0] == "S", int(fields["voluntary_ctxt_switches"])

    def memory(self):
        """How many bytes it has of its own, or nothing with a sanitizer's shadow of terabytes."""
        fields = self.status()
        if int(fields["VmSize"].split()[0]) > 1 << 30:
            return None
        return int(fields["RssAnon"].split()[0]) * 1024


def receive(connection, size):
    got = bytearray()
    while len(got) < size:
        piece = connection.recv(size - len(got))
        assert piece, f"the stream ended after {len(got)} of {size} bytes"
        got += piece
    return bytes(got)


def sends_back_what_it_gets(s):
    with s.connect() as c:
        for size in (1, 63, 4096, 4097, 1 << 20):
            sent = os.urandom(size)
            writer = threading.Thread(target=c.sendall, args=(sent,))
            writer.start()
            assert receive(c, size) == sent
            writer.join()
        c.shutdown(socket.SHUT_WR)
        assert c.recv(1) == b""


def leaves_nothing_of_many_connections(s, count):
    before = s.alive_when(lambda now: now["connections"] == 0)
    reset = struct.pack("ii", 1, 0)  # most end with a reset, so that no port stays in TIME_WAIT
    for i in range(count):
        with s.connect() as c:
            c.sendall(b"x")
            assert receive(c, 1) == b"x"
            if i % 100 != 0:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    s.alive_when(lambda now: now == before)


def costs_little_with_idle_connections(s):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10000, soft - 100)
    memory = s.memory()
    idle = [s.connect() for _ in range(count)]
    for c in idle:  # what has been used once lies idle, too
        c.sendall(bytes(4096))
        receive(c, 4096)
    s.alive_when(lambda now: now["connections"] == count)
    print(f"  {count} idle connections")
    if memory is not None:
        each = (s.memory() - memory) / count
        print(f"  {each:.0f} bytes each")
        assert each < 1000, "a buffer lies idle with each connection"
    _, before = s.rest()  # it has answered, and may be on its way to sleep
    time.sleep(1)
    sleeps, after = s.rest()
    assert sleeps and after - before <= 1, f"woken {after - before} times"
    for c in idle:
        c.close()
    s.alive_when(lambda now: now["connections"] == 0)


def finishes_what_is_in_flight(style):
    s = server(style)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(30)
    slow.connect(s.address)
    with slow, s.connect() as idle:
        s.alive_when(lambda now: now["connections"] == 2)
        # The server has got it all when this returns, and can't have sent it all.
        sent = os.urandom(100_000)
        slow.sendall(sent)
        s.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "an idle connection ends"
        assert receive(slow, len(sent)) == sent
        assert slow.recv(1) == b""
    assert s.end() == 0


def ends_at_once_at_a_second_signal(style):
    s = server(style)
    with s.connect() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.settimeout(1)
        try:
            while True:  # until the server can write no more, and so has to wait
                c.sendall(bytes(1 << 16))
        except TimeoutError:
            pass
        s.process.send_signal(signal.SIGINT)
        s.alive()
        s.process.send_signal(signal.SIGINT)
        assert s.end() == 0


def says_what_is_wrong(style):
    program = os.path.join(os.environ["SAMPLES"], "echo_" + style)
    for arguments in (["--listen"], ["--listen", "nonsense"], ["--port", "1"]):
        wrong = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
        assert wrong.returncode == 2 and "usage" in wrong.stderr, wrong
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        wrong = subprocess.run(
            [program, "--listen", address], capture_output=True, text=True, timeout=30)
        assert wrong.returncode == 1 and address in wrong.stderr, wrong


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    for style in ("callback", "await"):
        print(style)
        s = server(style)
        costs_little_with_idle_connections(s)
        sends_back_what_it_gets(s)
        print(f"  {count} connections one after the other")
        leaves_nothing_of_many_connections(s, count)
        s.process.send_signal(signal.SIGTERM)
        assert s.end() == 0
        finishes_what_is_in_flight(style)
        ends_at_once_at_a_second_signal(style)
        says_what_is_wrong(style)


main()
