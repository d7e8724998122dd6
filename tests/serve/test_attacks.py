"""Clients that mean harm, each kind against a real server: honest ones are answered, memory is bounded."""

import contextlib
import http.client
import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from raw import (
    INFER,
    PATIENCE_S,
    answer,
    connect,
    connections,
    ended,
    eventually,
    memory_mb,
    metric,
    post,
    received_from,
    whole,
)

GET = b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n\r\n"
CONNECTIONS, OF_ONE_CLIENT, HELD_MB = 32, 24, 24


@pytest.fixture(scope="module")
def besieged(start, exported):
    """A server with small limits."""
    limits = {
        "max-connections": CONNECTIONS,
        "max-connections-per-client": OF_ONE_CLIENT,
        "max-held-mb": HELD_MB,
        **dict.fromkeys(["head-timeout", "body-timeout", "write-timeout", "keep-alive"], 1),
    }
    options = [text for name, value in limits.items() for text in (f"--{name}", value)]
    with start(f"cancer={exported}", "--health-port", 0, *options) as running:
        yield running


@pytest.fixture
def honest(rows, infer_body):
    """honest(server): one row is computed, as ever."""
    body = infer_body(rows[:1], outputs=[{"name": "score"}])

    def asked(server, source="127.0.0.1"):
        host, port = server.authority.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request("POST", INFER, json.dumps(body))
            assert connection.getresponse().status == 200

    return asked


@pytest.fixture(autouse=True)
def serving_afterwards(besieged, honest):
    yield
    honest(besieged)
    assert besieged.process.poll() is None


# What is sent first, what after its answer, and what again and again.
UNENDING = [
    (b"", b"", b""),
    (b"", b"", b"\r\n"),
    (b"P", b"", b"O"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"", b"b"),
    (post(INFER, "Content-Length: 100"), b"", b""),
    (post(INFER, "Content-Length: 100000"), b"", b" "),
    (post(INFER, "Transfer-Encoding: chunked"), b"", b""),
    (post(INFER, "Transfer-Encoding: chunked") + b"ffff\r\n{", b"", b" "),
    (post(INFER, "Transfer-Encoding: chunked"), b"", b"1\r\n \r\n"),
    (post(INFER, "Content-Length: 100", "Expect: 100-continue"), b"", b""),
    (post("/v2", "Content-Length: 100"), b"", b" "),
    (post(INFER, "Content-Length: 10", "Connection: upgrade", "Upgrade: h2c"), b"", b""),
    (GET, b"\r\n", b""),
    (GET, b"\r\n", b"\r\n"),
    (GET, b"G", b""),
    (GET, b"GET / HTTP/1.1\r\nHost: h\r\n", b"A: b\r\n"),
    (GET, post(INFER, "Content-Length: 100"), b""),
    (GET + post(INFER, "Content-Length: 100"), b"", b""),
    (GET, b"", b""),
]


@pytest.fixture(scope="module")
def given_up(besieged):
    """Whether the server ends the connection of each of UNENDING: all at once, for each takes its time."""

    def outcome(first, then, drip):
        with connect(besieged) as connection:
            connection.sendall(first)
            if first.startswith(GET) and answer(connection)[0] != 200:
                return "not answered"
            connection.sendall(then)
            return ended(connection, drip)

    with ThreadPoolExecutor(len(UNENDING)) as pool:
        return list(pool.map(outcome, *zip(*UNENDING, strict=True)))


@pytest.mark.parametrize("case", range(len(UNENDING)), ids=map(str, UNENDING))
def test_a_connection_whose_request_never_ends_is_ended(given_up, case):
    assert given_up[case] is True


@pytest.mark.parametrize("first", [b"", b"P", post(INFER, "Content-Length: 100"), GET, GET + b"\r\n"])
def test_more_half_open_connections_than_are_allowed_lock_nobody_out(besieged, honest, first):
    for source in ("127.0.0.1", "127.0.0.2"):
        with connections(besieged, 2 * CONNECTIONS, first, source="127.0.0.2"):
            honest(besieged, source)
    assert metric(besieged, "aetool_connections_refused_total") > 0


def test_one_client_takes_no_connection_of_another(besieged):
    with connect(besieged, "127.0.0.3") as other, connections(besieged, 3 * CONNECTIONS, b"P"):
        assert besieged.call("GET", "/v2/health/live")[0] == 200
        other.sendall(GET)
        assert answer(other)[0] == 200


def test_health_has_a_port_that_half_open_connections_do_not_lock(besieged):
    health = urlsplit(besieged.wait_for("serving")["health"])
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            probe = stack.enter_context(socket.create_connection((health.hostname, health.port), 5))
            with contextlib.suppress(OSError):
                probe.sendall(b"GET")
        for path, status in (("live", 200), ("ready", 200), ("../../v2", 404)):
            connection = http.client.HTTPConnection(health.netloc, timeout=PATIENCE_S)
            connection.request("GET", f"/v2/health/{path}")
            assert connection.getresponse().status == status
            connection.close()


def test_health_is_answered_while_the_server_gets_no_time_and_ends_with_it(start, exported):
    with start(f"cancer={exported}", "--health-port", 0) as held_up:
        health = urlsplit(held_up.wait_for("serving")["health"])

        def probe():
            connection = http.client.HTTPConnection(health.netloc, timeout=PATIENCE_S)
            with contextlib.closing(connection):
                connection.request("GET", "/v2/health/ready")
                return connection.getresponse().status

        assert eventually(lambda: probe() == 200)
        held_up.process.send_signal(signal.SIGSTOP)
        assert probe() == 200
        held_up.process.kill()

        def gone():
            try:
                probe()
            except OSError:
                return True
            return False

        assert eventually(gone)


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nHost: h\r\nA: ", *[b"a" * 65536] * 64],
        [b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 17000 + b"\r\n\r\n"],
        [b"GET /" + b"a" * 65536 * 8 + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nHost: h\r\n", *[b"A: b\r\n" * 10_000] * 16],
        [b"GET / HTTP/1.1\r\nHost: h\r\n", b"A: b\r\n" * 101, b"\r\n"],
        [b"GET / HTTP/1.1\r\nHost: h\r\n", b"a" * 65536 * 8, b": b\r\n\r\n"],
    ],
)
def test_a_large_head_is_431_while_it_is_read(besieged, parts):
    with connect(besieged) as connection:
        with contextlib.suppress(OSError):  # it does not listen any more
            for part in parts:
                connection.sendall(part)
        status, body = answer(connection)
        assert status == 431 and "--max-head-kb" in body["error"]
        assert ended(connection)


@pytest.mark.parametrize(
    "piece",
    [
        b"1\r\n \r\n" * 10_000,
        b"100;" + b"a" * 50_000 + b"\r\n" + b" " * 256 + b"\r\n",
        b"0\r\nA: " + b"a" * 50_000,
    ],
)
def test_a_body_that_is_mostly_framing_is_400(besieged, piece):
    with connect(besieged) as connection, contextlib.suppress(OSError):
        connection.sendall(post(INFER, "Transfer-Encoding: chunked"))
        for _ in range(20):
            connection.sendall(piece)
        assert answer(connection)[0] in (400, 431)


def test_requests_without_end_on_one_connection_are_bounded(besieged, honest):
    with connections(besieged, 8) as many:
        for connection in many:
            with contextlib.suppress(OSError):
                connection.sendall(GET * 20_000)
        honest(besieged)
        assert memory_mb(besieged, "VmHWM") < 1000
    with connect(besieged) as connection:  # as many as some clients do send
        connection.sendall(GET * 32)
        assert answer(connection)[0] == 200


def test_answers_that_nobody_reads_are_bounded_and_given_up(besieged, honest, rows, infer_body):
    before = memory_mb(besieged)
    many = json.dumps(infer_body(rows.repeat(30, axis=0))).encode()  # 2,520 rows: an answer of some 3 MB
    with connections(besieged, 20, whole(many), receive_bytes=4096) as all_of_them:
        honest(besieged)
        assert eventually(lambda: metric(besieged, 'aetool_requests_total{model="cancer",status="200"}') > 1)
        assert metric(besieged, "aetool_held_bytes") <= HELD_MB << 20
        assert memory_mb(besieged) - before < HELD_MB + 100
        assert all(ended(connection) for connection in all_of_them[:2])
    assert eventually(lambda: metric(besieged, "aetool_held_bytes") == 0)


def test_unfinished_bodies_are_bounded_together(besieged, honest):
    before = memory_mb(besieged)
    head = post(INFER, f"Content-Length: {15 << 20}")
    with connections(besieged, 20) as all_of_them:

        def send(connection):
            with contextlib.suppress(OSError):
                connection.sendall(head + b" " * (8 << 20))

        threads = [threading.Thread(target=send, args=[connection]) for connection in all_of_them]
        for thread in threads:
            thread.start()
        honest(besieged)
        assert metric(besieged, "aetool_held_bytes") <= HELD_MB << 20
        assert memory_mb(besieged) - before < HELD_MB + 100
        for thread in threads:
            thread.join()
    page = besieged.call("GET", "/metrics")[2].decode()
    assert re.search(r'connections_refused_total{reason="503 too busy"}', page)
    assert eventually(lambda: metric(besieged, "aetool_held_bytes") == 0)


def bomb(data):
    return b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,30],"data":' + data + b"}]}"


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 5_000_000 + b"1]",
        bomb(b"[" + b"[]," * 5_000_000 + b"1]"),
        bomb(b"[" + b"{}," * 5_000_000 + b"1]"),
        bomb(b"[" + b'"ab",' * 3_000_000 + b"1]"),
        bomb(b"[" + b"0," * 7_000_000 + b"1]"),
        bomb(b"[" + b"[0]," * 60_000 + b"1]"),
        b"[" * 1000 + b"]" * 1000,
        b'{"id":' + b"[" * 1000 + b"]" * 1000 + b"}",
        bomb(b"[" * 1000 + b"]" * 1000),
        bomb(b'{"a":' * 1000 + b"1" + b"}" * 1000),
        b'{"inputs":[{"name":' + b"[" * 500 + b"]" * 500 + b"}]}",
        b'{"inputs":[{"name":"features","datatype":"FP32","shape":' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
    ids=range(12),
)
def test_json_that_would_take_time_or_memory_is_400(besieged, body):
    before = memory_mb(besieged)
    with connect(besieged) as connection:
        connection.sendall(whole(body))
        status, found = answer(connection)
    assert status == 400 and len(found["error"]) < 300
    assert memory_mb(besieged) - before < 150


@pytest.mark.parametrize(
    "framing", ["Content-Length: {length}", "Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
@pytest.mark.parametrize("split", [False, True])
def test_a_request_that_asks_for_another_protocol_keeps_its_body(besieged, rows, infer_body, framing, split):
    body = json.dumps(infer_body(rows[:1], outputs=[{"name": "score"}])).encode()
    head = post(
        INFER,
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        framing.format(length=len(body)),
    )
    if "chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with connect(besieged) as connection:
        for part in (head, body[:50], body[50:] + GET) if split else (head + body + GET,):
            connection.sendall(part)
            if split:
                assert not ended_soon(connection)
        status, found = answer_of_first(connection)
        assert status == 200 and found["outputs"][0]["name"] == "score"


def ended_soon(connection):
    connection.settimeout(0.1)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(PATIENCE_S)


def answer_of_first(connection):
    """Of two answers on one connection, the first; both must come."""
    received = b""
    while received.count(b"HTTP/1.1 200") < 2:
        received += received_from(connection)
    body = received.partition(b"\r\n\r\n")[2]
    return 200, json.loads(body[: body.index(b"HTTP/1.1")])


def test_a_busy_server_refuses_before_it_parses(start, exported, rows, infer_body):
    """While rows wait, what is no JSON is not looked at: 503, not 400."""
    with start(f"cancer={exported}", "--max-queue", 1) as busy:
        many = whole(json.dumps(infer_body(rows.repeat(40, axis=0))).encode())
        stop = threading.Event()

        def load():
            with connect(busy) as connection, contextlib.suppress(OSError):
                while not stop.is_set():
                    connection.sendall(many)
                    answer(connection)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        seen = set()
        with connect(busy) as connection:

            def refused():
                connection.sendall(whole(b"no JSON"))
                seen.add(answer(connection)[0])
                return 503 in seen

            assert eventually(refused)
        stop.set()
        for thread in threads:
            thread.join()
        assert seen <= {400, 503}


@pytest.mark.parametrize("first", [post(INFER, "Content-Length: 100"), b"P", GET, b""])
def test_half_open_connections_do_not_outlast_the_grace(start, exported, first):
    with start(f"cancer={exported}", "--grace", 1, "--body-timeout", 300, "--head-timeout", 300) as server:
        with connections(server, 5, first):
            assert server.call("GET", "/v2/health/live")[0] == 200
            code, _ = server.stop()
        assert code == 0 and server.log[-2]["event"] == "stopped"


def test_answers_that_nobody_reads_do_not_outlast_the_grace(start, exported, rows, infer_body):
    many = json.dumps(infer_body(rows.repeat(30, axis=0))).encode()
    with start(f"cancer={exported}", "--grace", 1, "--write-timeout", 300) as server:
        with connections(server, 3, whole(many), receive_bytes=4096):
            assert eventually(lambda: metric(server, 'aetool_requests_total{model="cancer",status="200"}') > 0)
            code, _ = server.stop()
        assert code == 0
