#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives samples/netcat: both directions, half-close, TCP and a Unix path, and the system's nc.

    SAMPLES=build/samples tests/samples/netcat.py
"""

import os
import shutil
import socket
import subprocess
import tempfile
import threading

NETCAT = os.path.join(os.environ["SAMPLES"], "netcat")
# More than all buffers on the way hold, so that each side has to wait for the other.
MUCH = os.urandom(3_000_000)


def start(*words, **more):
    return subprocess.Popen([NETCAT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)


def listening():
    """A netcat that listens, and its host and port."""
    server = start("--listen", "127.0.0.1:0", stderr=subprocess.PIPE)
    word, address = server.stderr.readline().decode().split()
    assert word == "ready", word
    host, port = address.rsplit(":", 1)
    return server, host, port


def talk(process, out, answers):
    """Sends `out` and the end, and appends all that comes back."""
    answer, _ = process.communicate(out, timeout=60)
    answers.append(answer)


def both_directions():
    server, host, port = listening()
    client = start(host, port)
    at_server, at_client = [], []
    there = threading.Thread(target=talk, args=(server, MUCH[::-1], at_server))
    there.start()
    talk(client, MUCH, at_client)
    there.join(60)
    assert at_server == [MUCH], "the server got other bytes than were sent"
    assert at_client == [MUCH[::-1]], "the client got other bytes than were sent"
    assert client.returncode == 0 and server.returncode == 0


def answer_after_the_end(listener, answer):
    """Accepts one connection, reads to its end, and only then answers."""
    peer, _ = listener.accept()
    with peer:
        got = b""
        while part := peer.recv(65536):
            got += part
        peer.sendall(answer + got)


def half_close(family, name, words):
    with socket.socket(family) as listener:
        listener.bind(name)
        listener.listen()
        there = threading.Thread(target=answer_after_the_end, args=(listener, b"re: "))
        there.start()
        client = start(*words(listener))
        answer, _ = client.communicate(MUCH, timeout=60)
        there.join(60)
    assert answer == b"re: " + MUCH and client.returncode == 0, len(answer)


def system_nc():
    nc = shutil.which("nc")
    if nc is None:
        print("there is no nc: skipped")
        return
    server, host, port = listening()
    answers = []
    there = threading.Thread(target=talk, args=(server, b"from the sample", answers))
    there.start()
    done = subprocess.run([nc, "-N", host, port], input=b"from nc", stdout=subprocess.PIPE,
                          timeout=60, check=False)
    there.join(60)
    assert answers == [b"from nc"] and done.stdout == b"from the sample", (answers, done)


def errors():
    for words in ([], ["host", "port"], ["--listen", "nowhere"]):
        assert subprocess.run([NETCAT, *words], stderr=subprocess.DEVNULL, timeout=60,
                              check=False).returncode == 64, words
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = str(nobody.getsockname()[1])
        refused = subprocess.run([NETCAT, "127.0.0.1", port], stderr=subprocess.PIPE, timeout=60,
                                 check=False)
    assert refused.returncode == 1 and b"Connection refused" in refused.stderr, refused


both_directions()
half_close(socket.AF_INET, ("127.0.0.1", 0), lambda at: map(str, at.getsockname()))
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "socket")
    half_close(socket.AF_UNIX, path, lambda at: ["unix:" + path])
# Files and /dev/null as standard input.
with open(os.devnull, "rb") as nothing:
    server, host, port = listening()
    client = subprocess.Popen([NETCAT, host, port], stdin=nothing, stdout=subprocess.PIPE)
    answer, _ = server.communicate(b"answer", timeout=60)
    assert answer == b"" and client.communicate(timeout=60)[0] == b"answer"
system_nc()
errors()
print("netcat: both directions, half-close, a Unix path, /dev/null and errors are right")
