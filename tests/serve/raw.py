"""Bytes over bare sockets, for clients that behave badly."""

import contextlib
import json
import socket
import time
from pathlib import Path

INFER = "/v2/models/cancer/infer"
PATIENCE_S = 9.0


def connect(server, source="127.0.0.1", receive_bytes=None):
    host, port = server.authority.split(":")
    made = socket.socket()
    if receive_bytes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.bind((source, 0))
    made.settimeout(PATIENCE_S)
    made.connect((host, int(port)))
    return made


@contextlib.contextmanager
def connections(server, count, first=b"", **how):
    """So many connections that have sent `first`."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(connect(server, **how)))
            with contextlib.suppress(OSError):
                made[-1].sendall(first)
        yield made


def post(path=INFER, *headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def whole(body, *headers, path=INFER):
    return post(path, f"Content-Length: {len(body)}", *headers) + body


def received_from(connection):
    piece = connection.recv(65536)
    assert piece, "the connection ended"
    return piece


def answer(connection):
    """(status, parsed body) of the next answer on a connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += received_from(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < length:
        body += received_from(connection)
    return int(head[9:12]), json.loads(body[:length])


def ended(connection, drip=b""):
    """Whether the server ends the connection by itself; `drip` is sent again and again meanwhile."""
    connection.settimeout(0.2)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if not connection.recv(65536):
                return True
        except TimeoutError:
            pass
        except OSError:
            return True
        if drip:
            with contextlib.suppress(OSError):
                connection.sendall(drip)
    return False


def memory_mb(server, figure="VmRSS"):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split(f"{figure}:")[1].split()[0]) / 1024


def metric(server, name):
    page = server.call("GET", "/metrics")[2].decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


def eventually(true, patience_s=PATIENCE_S):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False
