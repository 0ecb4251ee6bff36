#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both forms of the program that looks names up, with a name server of its own.

    SAMPLES=build/samples tests/samples/resolve.py
"""

import os
import socket
import struct
import subprocess
import threading

samples = os.environ["SAMPLES"]


def run(style, *arguments):
    done = subprocess.run([os.path.join(samples, "resolve_" + style), *arguments],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def name(dotted):
    return b"".join(bytes([len(p)]) + p.encode() for p in dotted.split(".")) + b"\0"


A, AAAA, SRV = 1, 28, 33
records = {
    ("one.example", A): [bytes([192, 0, 2, 1])],
    ("_http._tcp.one.example", SRV): [struct.pack("!HHH", 20, 1, 8080) + name("b.example"),
                                      struct.pack("!HHH", 10, 1, 80) + name("a.example")],
}


def answer(question):
    at, labels = 12, []
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += question[at] + 1
    kind, = struct.unpack("!H", question[at + 1:at + 3])
    section = question[12:at + 5]
    asked = ".".join(labels).lower()
    found = records.get((asked, kind), [])
    code = 0 if any(known == asked for known, _ in records) else 3
    head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
    return head + section + b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in found)


def serve(server):
    while True:
        question, client = server.recvfrom(4096)
        if question == b"end":
            return
        server.sendto(answer(question), client)


def names_and_services_are_found(style, where):
    code, printed, errors = run(style, "-s", where, "one.example", "_http._tcp.one.example",
                                "127.0.0.1", "one.example")
    assert code == 0, (code, errors)
    assert printed == ("one.example: 192.0.2.1\n"
                       "_http._tcp.one.example: a.example:80 b.example:8080\n"
                       "127.0.0.1: 127.0.0.1\n"
                       "one.example: 192.0.2.1\n"), printed


def failures_are_told(style, where):
    code, printed, _ = run(style, "-s", where, "no.example.", "_none._tcp.one.example.", "::1")
    assert code == 1, code
    assert printed == ("no.example.: (name not found)\n"
                       "_none._tcp.one.example.: (name not found)\n"
                       "::1: ::1\n"), printed


def literals_need_no_server(style):
    code, printed, _ = run(style, "192.0.2.7", "::1", "[::1]")
    assert code == 0 and printed == "192.0.2.7: 192.0.2.7\n::1: ::1\n[::1]: ::1\n", printed
    code, printed, _ = run(style, "localhost")
    assert code == 0 and ("127.0.0.1" in printed or "::1" in printed), printed
    assert run(style, "-s", "nowhere")[0] == 2


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 0))
    where = "%s:%d" % server.getsockname()
    serving = threading.Thread(target=serve, args=[server])
    serving.start()
    try:
        for style in ["callback", "await"]:
            literals_need_no_server(style)
            if "not supported" in run(style, "-s", where, "::1")[2]:
                print("resolve: built without c-ares, so its name server is not asked")
                continue
            names_and_services_are_found(style, where)
            failures_are_told(style, where)
    finally:
        server.sendto(b"end", server.getsockname())
        serving.join()
