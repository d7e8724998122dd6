"""A real OCI registry (Debian's docker-registry), a server of tokens for it, and a proxy that misbehaves."""

import base64
import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

PROGRAM = shutil.which("docker-registry")
USER, PASSWORD = "operator", "secret"
HTPASSWD = f"{USER}:$2b$04$YHIEWySMCTUyc5xrokkcCO2z4r5R4OPMfqL9GBc4PkDXcxrSce2pi\n"
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


def require():
    """Skip where there is no registry; fail where every host is required."""
    if PROGRAM is None:
        (pytest.fail if os.environ.get("AETOOL_HOSTS_REQUIRED") else pytest.skip)(
            "docker-registry is not installed"
        )


class Registry:
    """A registry on a port of its own; a context manager."""

    def __init__(self, folder, auth=None):
        self.folder, self.auth = folder, auth

    def __enter__(self):
        require()
        for _ in range(5):  # another program may take the port before the registry does
            self._start()
            if self._answers():
                return self
        raise AssertionError("docker-registry ended on every port")

    def _start(self):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{one.getsockname()[1]}"
        config = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"inmemory": {}},
            "http": {"addr": self.host},
            **({"auth": self.auth} if self.auth else {}),
        }
        (self.folder / "registry.yml").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(self.folder / "registry.yml")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _answers(self):
        """Whether it answers; False where it ended at once."""
        host, port = self.host.split(":")
        for _ in range(600):
            try:
                socket.create_connection((host, int(port)), 1).close()
            except OSError:
                if self.process.poll() is not None:
                    return False
                time.sleep(0.05)
            else:
                # The program that took the port may be what answered: then the registry is about to end.
                time.sleep(0.05)
                return self.process.poll() is None
        self.process.kill()
        raise AssertionError("docker-registry does not answer")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(60)


def with_passwords(folder):
    """A registry that asks for user and password."""
    (folder / "htpasswd").write_text(HTPASSWD)
    return Registry(folder, {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}})


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def give(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Served:
    """A server of this process; a context manager."""

    def __init__(self, handler):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Tokens(Served):
    """Gives tokens to USER, signed by a key of its own."""

    def __init__(self, folder):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key, self.folder, self.asked = ec.generate_private_key(ec.SECP256R1()), folder, []
        name, now = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")]),
            datetime.datetime.now(datetime.UTC),
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(self.key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip
        (folder / "root.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.certificate = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        outer = self

        class Handler(Quiet):
            def do_GET(self):
                asked = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
                outer.asked.append(asked)
                if self.headers.get("Authorization") != BASIC:
                    self.give(401, b"{}")
                    return
                self.give(200, json.dumps({"token": outer.token(asked)}).encode())

        super().__init__(Handler)

    def registry(self):
        """A registry that takes these tokens alone."""
        known = {"realm": f"http://{self.host}/token", "service": "tests", "issuer": "tests"}
        return Registry(self.folder, {"token": {**known, "rootcertbundle": str(self.folder / "root.pem")}})

    def token(self, asked):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        kind, name, actions = asked["scope"].split(":")
        now = int(time.time())
        claims = {
            "iss": "tests", "sub": USER, "aud": asked["service"], "iat": now, "nbf": now - 60, "exp": now + 60,
            "jti": "1", "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }  # fmt: skip
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]}
        signed = b".".join(encoded(json.dumps(each).encode()) for each in (header, claims))
        r, s = utils.decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return (signed + b"." + encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


class Proxy(Served):
    """Stands before a registry: writes down what is asked, and answers as it was told to.

    cut: blobs are sent up to so many bytes, then the connection ends.
    elsewhere: host that blobs are redirected to.
    instead: (status, body, headers) for a path that matches the key.
    """

    def __init__(self, registry):
        self.asked, self.cut, self.elsewhere, self.instead = [], None, None, {}
        outer = self

        class Handler(Quiet):
            def do_GET(self):
                outer.asked.append((self.command, self.path, dict(self.headers)))
                for pattern, (status, body, headers) in outer.instead.items():
                    if re.search(pattern, self.path):
                        self.give(status, body, **headers)
                        return
                if outer.elsewhere and "/blobs/sha256:" in self.path and self.command == "GET":
                    self.give(307, b"", Location=f"http://{outer.elsewhere}{self.path}")
                    return
                length = int(self.headers.get("Content-Length") or 0)
                request = urllib.request.Request(
                    f"http://{registry.host}{self.path}", self.rfile.read(length) or None, dict(self.headers),
                    method=self.command,
                )  # fmt: skip
                try:
                    with urllib.request.urlopen(request) as answer:
                        body, status, headers = answer.read(), answer.status, answer.headers
                except urllib.error.HTTPError as answer:
                    body, status, headers = answer.read(), answer.code, answer.headers
                kept = {"Content-Type", "Content-Range", "WWW-Authenticate", "Location"}
                self.send_response(status)
                for name in kept & set(headers):
                    self.send_header(name, headers[name])
                self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
                self.end_headers()
                if outer.cut is not None and "/blobs/sha256:" in self.path and len(body) > outer.cut:
                    body = body[: outer.cut]
                    self.close_connection = True
                self.wfile.write(body)

            do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

        super().__init__(Handler)

    def fetched(self):
        """(blob, Range) of every GET of a blob."""
        return [
            (path.rpartition(":")[2], headers.get("Range"))
            for method, path, headers in self.asked
            if method == "GET" and "/blobs/" in path
        ]
