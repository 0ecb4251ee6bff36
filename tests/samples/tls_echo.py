#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both TLS echo servers alike: bytes, clients that fail, reloading, signals.

    SAMPLES=build/samples tests/samples/tls_echo.py

Makes certificates with the program openssl, which is also one of the clients.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time


def make_certificate(directory, name):
    """A self-signed certificate, which clients trust as it is."""
    files = [os.path.join(directory, f"{name}.{kind}") for kind in ("pem", "key")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True, timeout=60)
    return files


class server:
    def __init__(self, style, certificate, key):
        program = os.path.join(os.environ["SAMPLES"], "tls_echo_" + style)
        self.process = subprocess.Popen(
            [program, "--certificate", certificate, "--key", key, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # if the test fails before its end
        word, address = self.process.stdout.readline().split()
        assert word == "ready", word
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.certificate = certificate

    def plain(self):
        return socket.create_connection(self.address, timeout=30)

    def connect(self):
        context = ssl.create_default_context(cafile=self.certificate)
        # A connection that is cut off is an error, and an end with a close_notify is none.
        return context.wrap_socket(
            self.plain(), server_hostname="localhost", suppress_ragged_eofs=False)

    def alive(self):
        """What the server counts, asked by SIGUSR1."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def alive_when(self, condition):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            now = self.alive()
            if condition(now):
                return now
        raise AssertionError(f"still {now}")

    def end(self):
        code = self.process.wait(30)
        return code, self.process.stderr.read()


def receive(connection, size):
    got = bytearray()
    while len(got) < size:
        piece = connection.recv(size - len(got))
        assert piece, f"the stream ended after {len(got)} of {size} bytes"
        got += piece
    return bytes(got)


def sends_back_what_it_gets(s):
    for size in (1, 63, 16384, 16385, 1 << 20):
        with s.connect() as c:
            sent = os.urandom(size)
            # An SSLSocket may be used by one thread at a time only.
            got = bytearray()
            for at in range(0, size, 10000):
                c.sendall(sent[at:at + 10000])
                got += receive(c, len(sent[at:at + 10000]))
            assert got == sent
            c.unwrap().close()  # which waits for the server's close_notify


def serves_openssl(s):
    for version in ("-tls1_2", "-tls1_3"):
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", "%s:%d" % s.address, "-CAfile", s.certificate,
             "-verify_return_error", "-quiet", version],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        client.stdin.write(b"a line\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"a line\n"
        client.kill()
        client.wait(30)
        client.stdin.close()
        client.stdout.close()


def survives_clients_that_fail(s):
    for plain in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n"):
        with s.plain() as c:
            c.sendall(plain)
            assert c.recv(100) == b"", "who speaks no TLS gets no alert"
    with s.plain():
        pass  # no byte
    context = ssl.create_default_context()  # which does not know the certificate
    try:
        context.wrap_socket(s.plain(), server_hostname="localhost")
        raise AssertionError("the certificate was accepted")
    except ssl.SSLCertVerificationError:
        pass
    with s.connect() as c:  # cut off in the middle
        c.sendall(b"x")
        receive(c, 1)
    s.alive_when(lambda now: now["connections"] == 0)


def leaves_nothing_of_many_connections(s):
    before = s.alive_when(lambda now: now["connections"] == 0)
    for _ in range(200):
        with s.connect() as c:
            c.sendall(b"x")
            assert receive(c, 1) == b"x"
    s.alive_when(lambda now: now == before)


def reloads_its_certificate(s, directory, files):
    other = make_certificate(directory, "second")
    before = s.connect()
    for source, to in zip(other, files):
        shutil.copy(source, to)
    s.process.send_signal(signal.SIGHUP)
    assert s.process.stdout.readline() == "reloaded\n"
    with s.connect() as after:
        assert (("commonName", "second"),) in after.getpeercert()["subject"]
    before.sendall(b"x")
    assert receive(before, 1) == b"x"
    before.close()
    with open(files[1], "w") as key:
        key.write("no key")
    s.process.send_signal(signal.SIGHUP)
    while "stays as it is" not in s.process.stderr.readline():
        pass
    with s.connect() as after:
        assert (("commonName", "second"),) in after.getpeercert()["subject"]


def finishes_what_is_in_flight(style, files):
    s = server(style, *files)
    with s.connect() as c, s.connect() as idle, s.plain() as silent:
        s.alive_when(lambda now: now["connections"] == 3)
        sent = os.urandom(100_000)
        c.sendall(sent)
        s.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "an idle connection ends with a close_notify"
        assert receive(c, len(sent)) == sent
        assert c.recv(1) == b""
        assert silent.recv(1) == b"", "a handshake does not delay the end"
    code, _ = s.end()
    assert code == 0, code


def ends_at_once_at_a_second_signal(style, files):
    s = server(style, *files)
    with s.connect() as c:
        c.settimeout(1)
        try:
            while True:  # until the server can write no more, and so has to wait
                c.sendall(bytes(1 << 16))
        except (TimeoutError, ssl.SSLWantWriteError):
            pass
        s.process.send_signal(signal.SIGINT)
        s.alive()
        s.process.send_signal(signal.SIGINT)
        code, _ = s.end()
        assert code == 0, code


def says_what_is_wrong(style, files):
    program = os.path.join(os.environ["SAMPLES"], "tls_echo_" + style)
    for arguments in ([], ["--certificate", "a"], ["--certificate", "a", "--key", "b", "--listen"]):
        wrong = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
        assert wrong.returncode == 2 and "usage" in wrong.stderr, wrong
    wrong = subprocess.run([program, "--certificate", "/nowhere/a.pem", "--key", files[1]],
                           capture_output=True, text=True, timeout=30)
    assert wrong.returncode == 1 and "/nowhere/a.pem" in wrong.stderr, wrong


def main():
    if shutil.which("openssl") is None:
        print("there is no program openssl")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        for style in ("callback", "await"):
            print(style)
            files = make_certificate(directory, "first")
            finishes_what_is_in_flight(style, files)
            ends_at_once_at_a_second_signal(style, files)
            says_what_is_wrong(style, files)
            s = server(style, *files)
            sends_back_what_it_gets(s)
            serves_openssl(s)
            survives_clients_that_fail(s)
            leaves_nothing_of_many_connections(s)
            reloads_its_certificate(s, directory, files)
            s.process.send_signal(signal.SIGTERM)
            code, errors = s.end()
            assert code == 0, errors


main()
