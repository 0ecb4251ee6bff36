#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives samples/netcat: TCP, Unix sockets and TLS in both directions, half-closes, socket files,
certificates that are refused, connections that are cut off, and the programs openssl, socat and nc.

    SAMPLES=build/samples tests/samples/netcat.py

Without the program openssl, which makes certificates, or without TLS in netcat, TLS is skipped.
"""

import atexit
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

NETCAT = os.path.join(os.environ["SAMPLES"], "netcat")
# More than all buffers on the way hold, so that each side has to wait for the other.
MUCH = os.urandom(10_000_000)


def start(*words, **more):
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               **{"stderr": subprocess.PIPE, **more})
    atexit.register(process.kill)  # if the test fails before its end
    return process


def end(process, out=b""):
    """Sends `out` and the end. Returns the exit code, the output and the errors."""
    answer, errors = process.communicate(out, timeout=60)
    return process.returncode, answer, (errors or b"").decode()


def run(*words, out=b""):
    return end(start(NETCAT, *words), out)


class InThread:
    """Calls a function in a thread. `result` waits for its result or its exception."""

    def __init__(self, function, *arguments):
        def call():
            try:
                self.value = function(*arguments)
            except BaseException as e:
                self.error = e

        self.value = self.error = None
        self.thread = threading.Thread(target=call, daemon=True)
        self.thread.start()

    def result(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), "the other side hangs"
        if self.error:
            raise self.error
        return self.value


def listening(*words):
    """A netcat that listens, and where."""
    server = start(NETCAT, *words)
    line = server.stderr.readline().decode()
    assert line.startswith("ready "), line + server.stderr.read().decode()
    return server, line[len("ready "):].rstrip("\n")


class Secure:
    """A TLS connection over a socket. An SSLSocket cannot end its sending side alone."""

    def __init__(self, plain, context, **how):
        self.plain = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **how)
        self.until_done(self.tls.do_handshake)

    def until_done(self, call, *arguments):
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                if part := self.plain.recv(65536):
                    self.incoming.write(part)
                else:
                    self.incoming.write_eof()
            finally:
                self.flush()

    def flush(self):
        if self.outgoing.pending:
            self.plain.sendall(self.outgoing.read())

    def sendall(self, out):
        self.until_done(self.tls.write, out)

    def recv(self, size):
        try:
            return self.until_done(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def shutdown(self, _):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # the other side has not ended yet
        self.flush()
        self.plain.shutdown(socket.SHUT_WR)

    def close(self):
        self.plain.close()


def read_all(peer):
    got = bytearray()
    while part := peer.recv(65536):
        got += part
    return bytes(got)


class Transport:
    """How netcat and its peers reach each other: the words of netcat, and a peer in Python."""

    def __init__(self, folder, unix, certificate=None):
        self.name = ("TLS over " if certificate else "") + ("a Unix socket" if unix else "TCP")
        self.path = os.path.join(folder, "socket") if unix else None
        self.server_words, self.client_words = [], []
        self.server_context = self.client_context = None
        if certificate:
            self.server_words = ["--tls", "--certificate", certificate + ".pem",
                                 "--key", certificate + ".key"]
            self.client_words = ["--tls", "--ca", certificate + ".pem", "--name", "localhost"]
            self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server_context.load_cert_chain(certificate + ".pem", certificate + ".key")
            self.client_context = ssl.create_default_context(cafile=certificate + ".pem")

    def to(self, where):
        return ["unix:" + where] if self.path else where.rsplit(":", 1)

    def netcat_listens(self):
        at = "unix:" + self.path if self.path else "127.0.0.1:0"
        return listening(*self.server_words, "--listen", at)

    def netcat_connects(self, where):
        return start(NETCAT, *self.client_words, *self.to(where))

    def python_connects(self, where):
        plain = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        plain.settimeout(60)
        plain.connect(where if self.path else (where.rsplit(":", 1)[0],
                                               int(where.rsplit(":", 1)[1])))
        if not self.client_context:
            return plain
        return Secure(plain, self.client_context, server_hostname="localhost")

    def python_accepts(self, use):
        """A netcat that has connected to a peer in a thread, with which `use` is called."""
        listener = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        listener.settimeout(60)
        listener.bind(self.path or ("127.0.0.1", 0))
        listener.listen()
        where = self.path or "%s:%d" % listener.getsockname()

        def serve():
            with listener:
                plain, _ = listener.accept()
            if self.path:
                os.unlink(self.path)
            plain.settimeout(60)
            peer = plain
            if self.server_context:
                peer = Secure(plain, self.server_context, server_side=True)
            try:
                return use(peer)
            finally:
                peer.close()

        there = InThread(serve)
        return self.netcat_connects(where), there

    def python_is_accepted(self, use):
        """The same with a netcat that listens, and a peer that connects to it."""
        server, where = self.netcat_listens()

        def call():
            peer = self.python_connects(where)
            try:
                return use(peer)
            finally:
                peer.close()

        return server, InThread(call)


def both_directions(way):
    server, where = way.netcat_listens()
    client = way.netcat_connects(where)
    there = InThread(end, server, MUCH[::-1])
    code, answer, errors = end(client, MUCH)
    assert code == 0 and errors == "" and answer == MUCH[::-1], (way.name, code, errors)
    code, answer, errors = there.result()
    assert code == 0 and errors == "" and answer == MUCH, (way.name, code, errors)


def half_closes(way):
    def answer_after_the_end(peer):
        peer.sendall(b"re: " + read_all(peer))
        peer.shutdown(socket.SHUT_WR)

    def read_after_the_end(peer):
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        return read_all(peer)

    for meets in way.python_accepts, way.python_is_accepted:
        netcat, there = meets(answer_after_the_end)
        code, answer, errors = end(netcat, MUCH)
        assert code == 0 and answer == b"re: " + MUCH, (way.name, code, len(answer), errors)
        there.result()
        netcat, there = meets(read_after_the_end)
        assert netcat.stdout.read(len(b"question")) == b"question"
        code, answer, errors = end(netcat, MUCH)
        assert code == 0 and answer == b"" and there.result() == MUCH, (way.name, code, errors)


def standard_input_of_nothing(way):
    server, where = way.netcat_listens()
    with open(os.devnull, "rb") as nothing:
        client = subprocess.Popen([NETCAT, *way.to(where)], stdin=nothing, stdout=subprocess.PIPE)
    assert end(server, b"answer") == (0, b"", "")
    assert client.communicate(timeout=60)[0] == b"answer"


def has(name):
    """Whether there is a program. An nc counts if it has -N for a half-close, as OpenBSD's."""
    if shutil.which(name) is None:
        return False
    words = subprocess.run([name, "-h"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=60, check=False).stdout
    return name != "nc" or re.search(rb"^\s*-N\s", words, re.MULTILINE) is not None


def system_programs(tcp, unix):
    programs = {"nc": lambda way, where: ["nc", "-N", *(["-U", where] if way.path
                                                        else way.to(where))],
                "socat": lambda way, where: ["socat", "-t60", "-", ("UNIX" if way.path else "TCP4")
                                             + "-CONNECT:" + where]}
    for name, words in programs.items():
        if not has(name):
            print(f"there is no {name}: skipped")
            continue
        for way in tcp, unix:
            server, where = way.netcat_listens()
            there = InThread(end, server, b"from the sample")
            assert end(start(*words(way, where)), b"from it") == (0, b"from the sample", "")
            assert there.result() == (0, b"from it", "")


def socket_files(unix):
    path = unix.path
    at = ["--listen", "unix:" + path]
    # The file is removed when the one connection is there, and after a signal.
    server, _ = unix.netcat_listens()
    with unix.python_connects(path) as peer:
        peer.sendall(b"x")
        assert server.stdout.read(1) == b"x" and not os.path.exists(path)
    assert end(server)[0] == 0
    for number in signal.SIGINT, signal.SIGTERM:
        server, _ = unix.netcat_listens()
        server.send_signal(number)
        assert server.wait(60) == 128 + number and not os.path.exists(path)

    # A socket in use is not replaced, and its server still serves.
    server, _ = unix.netcat_listens()
    for words in at, ["--replace", *at]:
        code, _, errors = run(*words)
        assert code == 1 and path in errors and "Address already in use" in errors, errors
    with unix.python_connects(path):
        pass
    assert end(server)[0] == 0
    # A file that was left behind is replaced only on request.
    server, _ = unix.netcat_listens()
    server.kill()
    server.wait(60)
    assert os.path.exists(path)
    code, _, errors = run(*at)
    assert code == 1 and "Address already in use" in errors, errors
    server, where = listening("--replace", *at)
    there = InThread(end, server, b"new")
    assert end(unix.netcat_connects(where))[:2] == (0, b"new") and there.result()[0] == 0
    assert os.listdir(os.path.dirname(path)) == []
    # Another file is never replaced.
    with open(path, "w") as other:
        other.write("kept")
    assert run("--replace", *at)[0] == 1
    with open(path) as other:
        assert other.read() == "kept"
    os.unlink(path)

    for long_path in (["unix:" + "x" * 108], ["--listen", "unix:" + "x" * 108]):
        code, _, errors = run(*long_path)
        assert code == 1 and "x" * 108 in errors and "File name too long" in errors, errors


def errors_of_tcp():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = str(nobody.getsockname()[1])
        code, _, errors = run("127.0.0.1", port)
        assert code == 1 and "Connection refused" in errors, errors
        nobody.listen()
        code, _, errors = run("--listen", "127.0.0.1:" + port)
        assert code == 1 and port in errors and "Address already in use" in errors, errors


def wrong_words():
    for words in ([], ["host"], ["host", "port"], ["host", "65536"], ["host", "1", "2"],
                  ["unix:x", "1"], ["unix:x", "--replace"], ["--listen"], ["--listen", "nowhere"],
                  ["--listen", "127.0.0.1:0", "host"], ["--listen", "127.0.0.1:0", "--replace"],
                  ["--wrong", "host", "1"], ["--ca", "file", "host", "1"],
                  ["--insecure", "host", "1"], ["--name", "other", "host", "1"],
                  ["--certificate", "file", "--key", "file", "--listen", "127.0.0.1:0"]):
        code, _, errors = run(*words)
        assert code == 64 and "usage: netcat" in errors, (words, errors)


def wrong_words_of_tls():
    for words in (["--tls", "unix:x"], ["--tls", "--listen", "127.0.0.1:0"],
                  ["--tls", "--certificate", "file", "--listen", "127.0.0.1:0"],
                  ["--tls", "--key", "file", "--listen", "127.0.0.1:0"],
                  ["--tls", "--certificate", "file", "--key", "file", "host", "1"],
                  ["--tls", "--ca", "file", "--insecure", "host", "1"],
                  *(["--tls", "--certificate", "file", "--key", "file", *one,
                     "--listen", "127.0.0.1:0"]
                    for one in (["--ca", "file"], ["--insecure"], ["--name", "other"]))):
        code, _, errors = run(*words)
        assert code == 64 and "usage: netcat" in errors, (words, errors)
    for words in (["--tls", "--ca", "/nowhere/a.pem", "127.0.0.1", "1"],
                  ["--tls", "--certificate", "/nowhere/a.pem", "--key", "/nowhere/a.key",
                   "--listen", "127.0.0.1:0"]):
        code, _, errors = run(*words)
        assert code == 1 and "/nowhere/a.pem" in errors and "ready" not in errors, errors


def certificates(secure, certificate):
    # By default the name is HOST, and the authorities are those of the system.
    for words, why in (([], "self-signed"), (["--ca", certificate + ".pem", "--name", "other"],
                                             "other")):
        server, where = secure.netcat_listens()
        code, answer, errors = end(start(NETCAT, "--tls", *words, *secure.to(where)), b"secret")
        assert code == 1 and answer == b"" and "certificate" in errors and why in errors, errors
        code, answer, errors = end(server, b"secret")
        assert code == 1 and answer == b"" and "alert" in errors, errors
    for words in ["--ca", certificate + ".pem"], ["--insecure"], ["--insecure", "--name", "other"]:
        server, where = secure.netcat_listens()
        there = InThread(end, server, b"secret")
        assert end(start(NETCAT, "--tls", *words, *secure.to(where)))[:2] == (0, b"secret"), words
        assert there.result() == (0, b"", "")


def cut_off(secure):
    """A connection that ends without a close_notify: the bytes are printed, and so is an error."""
    def cut(peer):
        peer.sendall(b"the first half")
        peer.plain.shutdown(socket.SHUT_WR)
        while peer.plain.recv(65536):  # unread bytes would make the end a reset
            pass

    for meets in secure.python_accepts, secure.python_is_accepted:
        netcat, there = meets(cut)
        there.result()
        netcat.wait(60)  # although its input has not ended
        code, answer, errors = end(netcat)
        assert code == 1 and answer == b"the first half", (code, answer, errors)
        assert errors.startswith("netcat: ") and "close_notify" in errors, errors


def peers_without_tls(tcp, secure):
    def speak(peer):
        peer.sendall(b"220 welcome\r\n")
        return read_all(peer)

    for one, other in (tcp.python_accepts, secure), (tcp.python_is_accepted, secure):
        tcp.server_words, tcp.client_words = other.server_words, other.client_words
        netcat, there = one(speak)
        code, answer, errors = end(netcat, b"secret")
        assert code == 1 and answer == b"" and "TLS" in errors, errors
        assert b"secret" not in there.result()
    tcp.server_words, tcp.client_words = [], []


def openssl_programs(secure, certificate):
    for version in "-tls1_2", "-tls1_3":
        server, where = secure.netcat_listens()
        client = start("openssl", "s_client", "-connect", where, "-CAfile", certificate + ".pem",
                       "-verify_return_error", "-quiet", version)
        client.stdin.write(b"from openssl\n")
        client.stdin.flush()
        assert server.stdout.readline() == b"from openssl\n"
        assert end(server, b"from the sample\n") == (0, b"", "")
        assert client.stdout.read() == b"from the sample\n"
        client.stdin.close()
        client.wait(60)

        server = start("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
                       certificate + ".pem", "-key", certificate + ".key", "-naccept", "1", version,
                       stderr=subprocess.DEVNULL)
        while not (line := server.stdout.readline()).startswith(b"ACCEPT "):
            assert line, "openssl s_server does not listen"
        client = secure.netcat_connects(line.split()[1].decode())
        client.stdin.write(b"from the sample\n")
        client.stdin.flush()
        while (line := server.stdout.readline()) != b"from the sample\n":
            assert line, "openssl s_server got nothing"
        server.stdin.write(b"from openssl\n")
        server.stdin.flush()
        assert client.stdout.readline() == b"from openssl\n"
        assert end(client) == (0, b"", "")
        end(server)


def tls(folder, sockets, tcp):
    certificate = os.path.join(folder, "own")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out",
                    certificate + ".pem", "-keyout", certificate + ".key"], check=True,
                   capture_output=True, timeout=60)
    secure = Transport(sockets, False, certificate)
    for way in secure, Transport(sockets, True, certificate):
        both_directions(way)
        half_closes(way)
        cut_off(way)
    certificates(secure, certificate)
    peers_without_tls(tcp, secure)
    openssl_programs(secure, certificate)
    wrong_words_of_tls()


with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
    tcp, unix = Transport(sockets, False), Transport(sockets, True)
    for way in tcp, unix:
        both_directions(way)
        half_closes(way)
        standard_input_of_nothing(way)
    system_programs(tcp, unix)
    socket_files(unix)
    errors_of_tcp()
    wrong_words()
    code, _, errors = run("--tls", "127.0.0.1", "0")
    if "built without TLS" in errors:
        assert code == 64, code
        print("netcat has no TLS: TLS skipped")
    elif shutil.which("openssl") is None:
        print("there is no program openssl: TLS skipped")
    else:
        tls(folder, sockets, tcp)
print("netcat: both directions, half-closes, socket files and errors are right")
