#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Trouble that no server of the samples may die of: hangups, lost readers, a lack of resources.

    SAMPLES=build/samples SHORT=build/tests tests/samples/daemons.py

In the directory $SHORT are the same servers with short_of_memory.cc linked in.
"""

import atexit
import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time

NAMES = [f"{sample}_{style}" for sample in ("echo", "shutdown") for style in ("callback", "await")]


class server:
    def __init__(self, program, **options):
        self.name = os.path.basename(program)
        self.sample = self.name.split("_")[0]
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        atexit.register(self.process.kill)  # if the test fails before its end
        word, address = self.process.stdout.readline().split()
        assert word == b"ready", word
        host, port = address.decode().rsplit(":", 1)
        self.address = (host, int(port))
        self.client = self.connect()  # that has to outlive all that happens
        self.serves(self.client)

    def connect(self):
        return socket.create_connection(self.address, timeout=30)

    def serves(self, client, size=1):
        sent = os.urandom(size)
        client.sendall(sent)
        got = b""
        while len(got) < size:
            piece = client.recv(size)
            assert piece, f"{self.name} has closed the connection"
            got += piece
        assert got == sent

    def goes_on(self):
        """Serves the one it had, and a new one."""
        self.serves(self.client)
        with self.connect() as other:
            self.serves(other)

    def settles(self):
        """Comes back when it waits for what is next."""
        while open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)

    def signal(self, number):
        self.process.send_signal(number)

    def alive(self):
        self.signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def ends(self):
        self.client.close()
        self.signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, f"{self.name} ended with {self.process.returncode}"


def fill(pipe):
    """Writes into a pipe, to whose reading end this has a file, until that takes no more."""
    end = os.open(f"/proc/self/fd/{pipe.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
    for size in 4096, 1:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"-" * size)
    os.close(end)


def survives_a_hangup(program):
    s = server(program)
    s.signal(signal.SIGHUP)
    s.goes_on()
    s.ends()


def is_not_held_up_by_pipes_that_nobody_reads(program):
    s = server(program)
    fill(s.process.stdout)
    fill(s.process.stderr)
    if s.sample == "echo":
        for _ in range(3):
            s.signal(signal.SIGUSR1)
            s.goes_on()
        os.set_blocking(s.process.stdout.fileno(), False)
        s.process.stdout.read()
        os.set_blocking(s.process.stdout.fileno(), True)
        assert s.alive()["dropped"] == 3
        fill(s.process.stdout)
    s.ends()


def survives_the_readers_of_its_pipes(program):
    s = server(program)
    s.process.stdout.close()
    s.process.stderr.close()
    if s.sample == "echo":
        s.signal(signal.SIGUSR1)
        s.goes_on()
        s.signal(signal.SIGUSR1)
    s.goes_on()
    s.ends()


def keeps_connections_from_the_standard_streams(program):
    s = server(program, preexec_fn=lambda: (os.close(0), os.close(2)))
    for descriptor in 0, 2:
        assert os.readlink(f"/proc/{s.process.pid}/fd/{descriptor}") == "/dev/null"
    s.ends()


def survives_a_lack_of_descriptors(program):
    s = server(program)
    _, hard = limits = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
    before = s.alive() if s.sample == "echo" else None
    resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    with s.connect() as waiting:  # in the kernel's queue
        if s.sample == "echo":
            assert s.alive()["descriptors"] == before["descriptors"]
        s.serves(s.client)
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, limits)
        s.serves(waiting)
    s.ends()


def survives_a_lack_of_memory(program):
    s = server(program)
    reset = struct.pack("ii", 1, 0)
    for spared in range(12):
        s.settles()  # or it would be the first client that is unlucky
        s.signal(signal.SIGRTMIN + 1 + spared)
        if s.sample == "echo":
            assert s.alive()["connections"] >= 1
        with s.connect() as unlucky:
            unlucky.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            unlucky.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            unlucky.settimeout(0.05)
            with contextlib.suppress(OSError):  # a timeout, or the connection was closed
                while s.sample == "echo":  # until the server has to keep some of it
                    unlucky.sendall(bytes(1 << 16))
                unlucky.sendall(b"x")
                unlucky.recv(1)
            if s.sample == "echo":
                s.serves(s.client)
        s.signal(signal.SIGRTMIN)
        s.goes_on()
    os.set_blocking(s.process.stderr.fileno(), False)
    said = s.process.stderr.read().decode().splitlines()
    assert all(line.startswith(f"{s.sample}: ") for line in said), said
    assert any("bad_alloc" in line or "Cannot allocate" in line for line in said), said
    s.ends()
    if s.sample == "shutdown":
        assert s.process.stdout.readline() == b"stopping, 0 requests under way\n"


def main():
    samples, short = os.environ["SAMPLES"], os.environ["SHORT"]
    for name in NAMES:
        for test, where in (
                (survives_a_hangup, samples),
                (is_not_held_up_by_pipes_that_nobody_reads, samples),
                (survives_the_readers_of_its_pipes, samples),
                (keeps_connections_from_the_standard_streams, samples),
                (survives_a_lack_of_descriptors, samples),
                (survives_a_lack_of_memory, short)):
            print(name, test.__name__, flush=True)
            test(os.path.join(where, name))


main()
