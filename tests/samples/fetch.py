#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives fetch with a server that resumes, redirects, cuts off, is silent and lies.

    SAMPLES=build/samples tests/samples/fetch.py
"""

import http.server
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading

PROGRAM = os.path.join(os.environ["SAMPLES"], "fetch")
FILE = b"".join(b"%d " % n for n in range(60_000))
CUT = 100_000  # where /cut ends the first time
asked = []  # the path and the range of each request
silence = threading.Event()


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def head(self, status, *fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        self.close_connection = True
        first = self.headers.get("Range")
        asked.append((self.path, first, self.headers.get("If-Range")))
        name = self.path.split("?")[0]
        if name in ("/file", "/cut", "/changed", "/liar"):
            tag = '"new"' if name == "/changed" and first else '"one"'
            if first and self.headers["If-Range"] == tag:
                at = int(first[len("bytes="):-1])
                if at == len(FILE):
                    return self.head(416, ("Content-Range", f"bytes */{at}"), ("Content-Length", 0))
                say = at + 1 if name == "/liar" else at
                self.head(206, ("ETag", tag), ("Content-Length", len(FILE) - at),
                          ("Content-Range", f"bytes {say}-{len(FILE) - 1}/{len(FILE)}"))
                self.wfile.write(FILE[at:])
            else:
                self.head(200, ("ETag", tag), ("Content-Length", len(FILE)))
                cuts = name in ("/cut", "/changed", "/liar") and not first
                self.wfile.write(FILE[:CUT] if cuts else FILE)
        elif name == "/chunked":
            self.head(200, ("Transfer-Encoding", "chunked"))
            for at in range(0, len(FILE), 7000):
                piece = FILE[at:at + 7000]
                self.wfile.write(b"%x;a=b\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nTrailer: x\r\n\r\n")
        elif name == "/wrong_chunk":
            self.head(200, ("Transfer-Encoding", "chunked"))
            self.wfile.write(b"-5\r\nabcde\r\n0\r\n\r\n")
        elif name == "/two_ends":
            self.head(200, ("Transfer-Encoding", "chunked"), ("Content-Length", 5))
            self.wfile.write(b"0\r\n\r\n")
        elif name == "/to_the_end":
            self.head(200)
            self.wfile.write(FILE)
        elif name == "/moved":
            self.head(302, ("Location", "moved/../file?from=moved"), ("Content-Length", 0))
        elif name == "/moved/../file":
            self.head(200, ("Content-Length", 5))
            self.wfile.write(b"moved")
        elif name == "/round":
            self.head(301, ("Location", "/round"), ("Content-Length", 0))
        elif name == "/silent":
            self.head(200, ("Content-Length", 10), ("ETag", '"one"'))
            self.wfile.write(b"12345")
            silence.wait(60)
        elif name == "/long_head":
            self.head(200, ("X", "x" * 20_000))
        elif name == "/many_fields":
            self.head(200, *[("X", "x")] * 200)
        else:
            self.head(404, ("Content-Length", 0))


def serve(wrap=None):
    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass  # fetch has given up

    server = Quiet(("127.0.0.1", 0), Server)
    if wrap:
        server.socket = wrap.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def content(path):
    with open(path, "rb") as file:
        return file.read()


def fetch(directory, *arguments):
    done = subprocess.run([PROGRAM, "-o", directory, *arguments], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory() as directory:
    server = serve()
    base = f"http://127.0.0.1:{server.server_address[1]}"

    def there(name):
        return os.path.join(directory, name)

    # Bodies of every kind, at once, and a redirection. Nothing but the files is left.
    code, out, err = fetch(directory, *(base + p for p in
                                        ("/file", "/chunked", "/to_the_end", "/moved")))
    assert code == 0 and err == "", (code, out, err)
    for name in "file", "chunked", "to_the_end":
        assert content(there(name)) == FILE, name
    assert content(there("moved")) == b"moved"
    assert sorted(os.listdir(directory)) == ["chunked", "file", "moved", "to_the_end"]

    # A download that was cut off goes on where it ended.
    for path in "/cut", "/changed", "/liar":
        code, out, err = fetch(directory, base + path)
        assert code == 1 and f"after {CUT} of {len(FILE)} bytes" in err, (code, err)
        assert content(there(path[1:] + ".part")) == FILE[:CUT]
    code, out, err = fetch(directory, base + "/cut")
    assert code == 0 and f"{CUT} of them from an earlier run" in out, (code, out, err)
    assert asked[-1] == ("/cut", f"bytes={CUT}-", '"one"') and content(there("cut")) == FILE
    # If the file has changed, it is downloaded as a whole; a wrong part is refused.
    code, out, err = fetch(directory, base + "/changed")
    assert code == 0 and " 0 of them" in out and content(there("changed")) == FILE, (out, err)
    code, out, err = fetch(directory, base + "/liar")
    assert code == 1 and "another part" in err and content(there("liar.part")) == FILE[:CUT], err
    # A file that was complete but for its name.
    with open(there("file.part"), "wb") as part, open(there("file.tag"), "w") as tag:
        part.write(FILE)
        tag.write(base + '/file\n"one"\n')
    code, out, err = fetch(directory, base + "/file")
    assert code == 0 and f"{len(FILE)} of them" in out and content(there("file")) == FILE, err

    # Errors: each has a message and leaves the others alone.
    for path, words in (("/none", "404"), ("/round", "too many redirections"),
                        ("/wrong_chunk", "wrong chunk"), ("/two_ends", "transfer encoding"),
                        ("/long_head", "limit"), ("/many_fields", "too many fields"),
                        ("/silent", "1000 ms")):
        code, out, err = fetch(directory, "-t", "1", base + path, base + "/file")
        assert code == 1 and "/file: " in out and err.startswith(f"fetch: {base}{path}: "), err
        assert words in err, (words, err)
    code, out, err = fetch(directory, "http://127.0.0.1:1/x")
    assert code == 1 and "refused" in err, err
    code, out, err = fetch(there("nowhere"), base + "/file")
    assert code == 1 and "No such file" in err, err
    for wrong in (["ftp://a/b"], ["http://"], ["http://a:0/"], ["http://u@a/"], ["-t", "0", base],
                  ["http://a/x", "http://b/x"], ["http://a/ x"], []):
        assert fetch(directory, *wrong)[0] == 2, wrong

    # SIGINT leaves the part that has arrived.
    os.unlink(there("silent.part"))
    process = subprocess.Popen([PROGRAM, "-o", directory, base + "/silent"],
                               stderr=subprocess.PIPE, text=True)
    while not os.path.exists(there("silent.part")) or content(there("silent.part")) != b"12345":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=60)[1] and process.returncode == 130
    assert content(there("silent.part")) == b"12345"
    silence.set()

    # TLS, if this fetch has it and there is a program to make certificates.
    _, _, err = fetch(directory, "https://127.0.0.1:1/x")
    if "without TLS" not in err and shutil.which("openssl"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                        "-addext", "subjectAltName=DNS:localhost", "-out", there("own.pem"),
                        "-keyout", there("own.key")], check=True, capture_output=True, timeout=60)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(there("own.pem"), there("own.key"))
        secure = serve(context)
        at = f"https://localhost:{secure.server_address[1]}/file"
        os.unlink(there("file"))
        code, out, err = fetch(directory, at)
        assert code == 1 and "certificate" in err and not os.path.exists(there("file")), err
        code, out, err = fetch(directory, "-c", there("own.pem"), at)
        assert code == 0 and content(there("file")) == FILE, (out, err)
