"""Who may ask what, what is told of it, and what is taken in anew while the server runs."""

import asyncio
import io
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from raw import INFER, answer, connect, connections, eventually, metric

from aetool.bundle.files import sha256
from aetool.bundle.keys import write_keys
from aetool.bundle.write import sign_bundle
from aetool.errors import InputError
from aetool.serve import _reload as reload
from aetool.serve._metrics import Metrics
from aetool.serve.auth import Hosts, Proxies
from aetool.serve.logs import JsonLines
from aetool.serve.models import Place
from aetool.serve.server import warn_if_open
from aetool.serve.warmup import Opening

TOKEN, OTHER = "a-token-of-enough-letters", "b-token-of-enough-letters"


@pytest.fixture(scope="module")
def guarded(start, exported, tmp_path_factory):
    """A server with a token, names and a proxy; its directory has the token and the bundle."""
    home = tmp_path_factory.mktemp("guarded")
    (home / "token").write_text(TOKEN)
    shutil.copytree(exported, home / "cancer")
    options = ("--allow-host", "models.example.org", "--allow-host", "*.local", "--trusted-proxy", "127.0.0.0/30")
    with start(home / "cancer", "--token-file", home / "token", "--access-log", *options) as running:
        running.home = home
        yield running


def ask(server, request, source="127.0.0.1"):
    with connect(server, source) as connection:
        connection.sendall(request)
        return answer(connection)


def get(path="/v2", *headers, host="models.example.org", token=TOKEN):
    return "\r\n".join(
        [f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", *headers, "", ""]
    ).encode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("models.example.org", 200),
        ("Models.Example.ORG:8000", 200),
        ("a.local", 200),
        ("evil.example.com", 421),
        ("models.example.org.evil.com", 421),
        ("local", 421),
        ("models.example.org:80@evil.com", 421),
        ("127.0.0.1", 421),
        ("", 421),
        ("models.example.org\r\nHost: evil.example.com", 421),
    ],
)
def test_a_foreign_host_is_refused(guarded, host, status):
    found, body = ask(guarded, get(host=host))
    assert found == status
    assert found == 200 or "--allow-host" in body["error"]


def test_probes_may_name_any_host(guarded):
    assert ask(guarded, get("/v2/health/ready", host="10.1.2.3:8000", token="no-token"))[0] == 200


def test_hosts_by_address_have_brackets_and_ports():
    hosts = Hosts(["[::1]", "127.0.0.1"])
    for value in (b"[::1]", b"[::1]:8000", b"127.0.0.1:1"):
        assert hosts.allow([(b"host", value)])
    for value in (b"::2", b"[::2]:8000", b"127.0.0.1:x"):
        assert not hosts.allow([(b"host", value)])


def test_a_header_after_the_body_is_no_authorization(guarded):
    head = f"POST {INFER} HTTP/1.1\r\nHost: models.example.org\r\nTransfer-Encoding: chunked\r\n"
    body = f"2\r\n{{}}\r\n0\r\nAuthorization: Bearer {TOKEN}\r\nHost: evil\r\n\r\n"
    assert ask(guarded, f"{head}\r\n{body}".encode())[0] == 401
    status, found = ask(guarded, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n{body}".encode())
    assert status == 400 and "inputs" in found["error"]


@pytest.mark.parametrize(
    ("source", "forwarded", "client"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.7, 127.0.0.2", "203.0.113.7"),
        ("127.0.0.1", "6.6.6.6, nonsense", "127.0.0.1"),
        ("127.0.0.9", "203.0.113.7", "127.0.0.9"),
    ],
)
def test_the_access_log_tells_the_client_behind_trusted_proxies_only(guarded, source, forwarded, client):
    path = f"/v2/{source}/{len(guarded.log)}"
    ask(guarded, get(path, f"X-Forwarded-For: {forwarded}"), source)
    assert eventually(lambda: any(line.get("path") == path for line in guarded.log))
    line = next(line for line in guarded.log if line.get("path") == path)
    assert (line["client"], line["method"], line["status"]) == (client, "GET", 404)
    assert line["seconds"] >= 0 and line["queue_seconds"] == 0


def test_the_access_log_names_request_model_and_version(guarded, rows, infer_body):
    body, seen = json.dumps(infer_body(rows[:3])).encode(), len(guarded.log)
    head = "\r\n".join(
        [
            f"POST {INFER} HTTP/1.1",
            "Host: a.local",
            f"Authorization: Bearer {TOKEN}",
            f"Content-Length: {len(body)}",
        ]
    )

    def ids(*headers):
        with connect(guarded) as connection:
            connection.sendall("\r\n".join([head, *headers, "", ""]).encode() + body)
            received = connection.recv(65536).partition(b"\r\n\r\n")[0].decode().split("\r\n")
        return [line.partition(": ")[2] for line in received if line.startswith("x-request-id: ")]

    assert ids("X-Request-Id: abc-123") == ["abc-123"]
    (made,) = ids()
    (other,) = ids("X-Request-Id: " + "x" * 129)
    assert len(made) == len(other) == 16 and made != other
    assert eventually(lambda: sum(line["event"] == "request" for line in guarded.log[seen:]) == 3)
    lines = [line for line in guarded.log[seen:] if line["event"] == "request"]
    assert [line["request_id"] for line in lines] == ["abc-123", made, other]
    version = guarded.call("GET", "/v2/models/cancer", Host="a.local", Authorization=f"Bearer {TOKEN}")[2][
        "versions"
    ]
    for line in lines:
        assert (line["model"], [line["version"]], line["rows"], line["status"]) == ("cancer", version, 3, 200)


def test_a_request_refused_unread_is_in_the_access_log_too(start, exported, rows, infer_body):
    with start(f"cancer={exported}", "--access-log", "--max-queue", "1", "--max-batch", "1") as server:
        body = json.dumps(infer_body(np.repeat(rows, 30, axis=0))).encode()
        request = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nX-Request-Id: me\r\nContent-Length: {len(body)}\r\n\r\n"
        with connections(server, 24, request.encode() + body) as opened:
            heads = [connection.recv(200).decode() for connection in opened]
        assert all("x-request-id: me" in head for head in heads)
        refused = sum(" 503 " in head for head in heads)
        assert refused
        assert eventually(lambda: sum(line["event"] == "request" for line in server.log) == 24)
        lines = [line for line in server.log if line["event"] == "request"]
        assert {line["request_id"] for line in lines} == {"me"}
        assert sum(line["status"] == 503 for line in lines) == refused


def test_nothing_that_a_client_sends_reaches_the_log_as_a_control_character():
    record = logging.makeLogRecord({"msg": "request", "facts": {"path": "/\x1b[31m\x9b2J\u202e\n", "name": "ä"}})
    line = JsonLines().format(record)
    assert line.isascii() and line.isprintable() and json.loads(line)["path"] == "/\x1b[31m\x9b2J\u202e\n"


def test_what_is_no_network_is_an_input_error():
    with pytest.raises(InputError, match="network such as"):
        Proxies(["proxy.example.org"])


def test_metrics_tell_connections_queue_and_process(start, exported, rows, infer_body):
    with start(f"cancer={exported}") as server:
        assert server.call("POST", INFER, infer_body(rows[:1]))[0] == 200
        assert server.call("GET", "/nothing")[0] == 404
        for name in (
            "aetool_connections_open 1",
            "aetool_connections_total 3",
            'aetool_queue_seconds_count{model="cancer"} 1',
            'aetool_requests_total{model="",status="404"} 1',
        ):
            assert metric(server, name.rpartition(" ")[0]) >= float(name.rpartition(" ")[2])
        for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
            assert metric(server, name) > 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_while_the_server_starts_does_not_end_it(exported, workers):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aetool", "serve", str(exported), "--port", str(port), "--workers", workers]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert eventually(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 30)  # bundles come next
            process.send_signal(signal.SIGHUP)
            assert any('"serving"' in line for line in process.stderr)
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0


def test_sighup_reads_the_bundles_and_the_token_again(guarded):
    before = len(guarded.log)
    (guarded.home / "token").write_text(OTHER)
    guarded.process.send_signal(signal.SIGHUP)
    guarded.wait_for("bundle replaced", before)
    assert ask(guarded, get(token=TOKEN))[0] == 401 and ask(guarded, get(token=OTHER))[0] == 200
    (guarded.home / "token").write_text("short")
    guarded.process.send_signal(signal.SIGHUP)
    guarded.wait_for("token not reloaded, the old one is still required", before)
    assert ask(guarded, get(token=OTHER))[0] == 200
    (guarded.home / "token").write_text(TOKEN)
    guarded.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: ask(guarded, get())[0] == 200)


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("0.0.0.0", None, True), ("::", None, True), ("192.0.2.1", None, True), ("a.example.org", None, True),
     ("0.0.0.0", TOKEN, False), ("127.0.0.1", None, False), ("::1", None, False), ("localhost", None, False)],
)  # fmt: skip
def test_an_open_host_without_a_token_is_warned_of(caplog, monkeypatch, host, token, warned):
    monkeypatch.setattr(logging.getLogger("aetool.serve"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        warn_if_open(host, token)
    assert bool(caplog.records) == warned


class Panic(BaseException):
    """No Exception, as an extension's panic is."""


@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt, Panic])
@pytest.mark.parametrize("stage", ["open", "serve"])
def test_whatever_opening_a_bundle_raises_watching_goes_on(monkeypatch, tmp_path, error, stage):
    (tmp_path / "manifest.json").write_text("{}")
    place, metrics, replaced = Place("cancer", tmp_path), Metrics(), []
    failing = [True]

    def fails_once(result):
        if failing.pop():
            failing.append(False)
            raise error("odd")
        failing.append(False)
        return result

    class Ready:
        version = "2"

    class Catalogue:
        def replace(self, place, served):
            replaced.append(served)

        def report(self):
            pass

    monkeypatch.setattr(reload, "make_ready", lambda *_: fails_once(Ready) if stage == "open" else Ready)
    monkeypatch.setattr(reload, "LOOK_S", 0.01)

    async def look():
        with ThreadPoolExecutor(1) as executor:
            watch = reload.Watch(
                [(place, None)],
                Catalogue(),
                metrics,
                lambda place, ready: fails_once("served") if stage == "serve" else "served",
                Opening(),
                1,
                executor,
            )
            task = asyncio.create_task(watch.run())
            for _ in range(500):
                await asyncio.sleep(0.01)
                watch.reload()
                if replaced:
                    break
            task.cancel()

    asyncio.run(look())
    assert replaced
    assert 'aetool_replacements_total{bundle="cancer",result="refused"} 1.0' in metrics.page().decode()


def with_golden(path, **changes):
    """Give the bundle at `path` other golden arrays, all hashes right."""
    with np.load(path / "golden.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(stream := io.BytesIO(), **arrays)
    (path / "golden.npz").write_bytes(stream.getvalue())
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = {"sha256": sha256(stream.getvalue()), "size": len(stream.getvalue())}
    (path / "manifest.json").write_text(json.dumps(manifest))


def published(source, path):
    old = path.with_name("old")
    path.rename(old)
    shutil.copytree(source, beside := path.with_name("beside"))
    beside.rename(path)
    shutil.rmtree(old)


def test_odd_bundles_one_after_another_are_refused_and_the_next_good_one_is_served(
    start, exported, tmp_path, rows, infer_body
):
    shutil.copytree(exported, path := tmp_path / "served" / "cancer")
    score = np.zeros(len(rows))
    odd = {
        "dates": score.astype("M8[s]"),
        "texts": score.astype("U3"),
        "complex": score.astype(complex),
        "records": score.astype([("a", "f4")]),
        "none": score[:0],
    }
    with start(path) as server:
        for name, array in odd.items():
            shutil.copytree(exported, made := tmp_path / name)
            with_golden(made, score=array)
            before = len(server.log)
            published(made, path)
            assert "golden" in server.wait_for("bundle refused, the old one is served", before)["error"]
            assert server.call("POST", INFER, infer_body(rows[:1]))[0] == 200
        before = len(server.log)
        published(exported, path)
        server.wait_for("bundle replaced", before)
        assert metric(server, 'aetool_replacements_total{bundle="cancer",result="refused"}') == len(odd)
        assert server.stop()[0] == 0


def test_a_signature_can_be_required_of_every_bundle(start, exported, tmp_path):
    (tmp_path / "served").mkdir()
    for name in ("signed", "unsigned"):
        shutil.copytree(exported, tmp_path / name)
    public = write_keys(key := tmp_path / "key.pem")
    sign_bundle(tmp_path / "signed", key)
    shutil.copytree(tmp_path / "signed", path := tmp_path / "served" / "cancer")
    with start(path, "--public-key", public) as server:
        published(tmp_path / "unsigned", path)
        assert "sign" in server.wait_for("bundle refused, the old one is served")["error"]
        published(tmp_path / "signed", path)
        server.wait_for("bundle replaced")
    refused = subprocess.run(
        [sys.executable, "-m", "aetool", "serve", tmp_path / "unsigned", "--port", "0", "--public-key", public],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 1 and "sign" in refused.stderr
