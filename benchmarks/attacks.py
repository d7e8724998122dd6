"""A server under attack: what honest clients, probes and memory see of it; goodput under overload; replacements.

    python benchmarks/attacks.py                     the figures, a minute for each attack
    python benchmarks/attacks.py --seconds 10        shorter

Server, honest clients, probe and attackers are processes of their own on the same cores. Each attack is measured
between two quiet periods, whose mean throughput is the reference. Everything goes over loopback addresses; the
attackers have the address of the honest clients, so that no limit per client tells them apart.
"""

import argparse
import asyncio
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, save

from aetool.bench._http_load import OK, LoadResult, address_of, closed_loop, request_bytes
from aetool.bundle.files import sha256

EXPORTED = Path(__file__).parents[1] / "exported" / "breast-cancer"
HONEST, ATTACKERS, HELD_MB = 16, 1100, 256
INFER = "/v2/models/cancer/infer"
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
spawn = multiprocessing.get_context("spawn")


def post(*headers: str) -> bytes:
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "Host: h", *headers, "", ""]).encode()


def rows_request(server: str, rows: np.ndarray, model: str = "cancer", output: str = "score") -> bytes:
    tensor = {"name": "features", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": output}]}).encode()
    return request_bytes(address_of(server), "POST", f"/v2/models/{model}/infer", body)


def bomb(data: bytes) -> bytes:
    body = b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,30],"data":' + data + b"}]}"
    return post(f"Content-Length: {len(body)}") + body


def golden_rows() -> np.ndarray:
    with np.load(EXPORTED / "golden.npz") as archive:
        found: np.ndarray = archive["features"].astype(np.float32)
        return found


def hold(url: str, first: bytes, count: int, end: float, *, read: bool = False, small: bool = False) -> None:
    """Keep `count` connections that have sent `first`, each opened again as soon as the server ends it."""
    asyncio.run(_hold(url, first, count, end, read=read, small=small))


async def _hold(url: str, first: bytes, count: int, end: float, *, read: bool, small: bool) -> None:
    address, loop = address_of(url), asyncio.get_running_loop()

    async def one() -> None:
        while time.time() < end:
            made = socket.socket()
            if small:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            with made, contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.1, end - time.time())):
                    await loop.sock_connect(made, (address.host, address.port))
                    await loop.sock_sendall(made, first)
                    if small:  # read nothing
                        await asyncio.sleep(end - time.time())
                    while (await loop.sock_recv(made, 65536)) and not read:
                        pass
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(count)))


def attacks(url: str) -> dict[str, tuple[bytes, int, dict[str, bool]]]:
    """Name -> what each connection sends, how many there are, how they read."""
    many = np.resize(golden_rows(), (20_000, 30))
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    return {
        "POST head without body, length": (post("Content-Length: 100"), ATTACKERS, {}),
        "POST head without body, chunked": (post("Transfer-Encoding: chunked"), ATTACKERS, {}),
        "POST head without body, Expect": (post("Content-Length: 9", "Expect: 100-continue"), ATTACKERS, {}),
        "answered request and CR LF": (GET + b"\r\n", ATTACKERS, {}),
        "answered request and a byte": (GET + b"P", ATTACKERS, {}),
        "one byte": (b"P", ATTACKERS, {}),
        "one header of 32 MB": (b"GET / HTTP/1.1\r\nA: " + b"a" * (32 << 20), 8, {"read": True}),
        "16 MB of small headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2_700_000, 8, {"read": True}),
        "answers never read": (rows_request(url, many, output="embedding"), 64, {"small": True}),
        "unfinished bodies of 16 MB": (post(f"Content-Length: {16 << 20}") + b" " * (15 << 20), 100, {}),
        "JSON of empty lists, 16 MB": (bomb(b"[" + b"[]," * 5_500_000 + b"1]"), 4, {"read": True}),
        "JSON nested 1,000 deep": (bomb(b"[" * 1000 + b"]" * 1000), 64, {"read": True}),
        "h2c upgrade without body": (post("Content-Length: 100", *upgrade), ATTACKERS, {}),
        "pipelined requests": (GET * 20_000, 16, {"read": True}),
        "chunks of one byte": (post("Transfer-Encoding: chunked") + b"1\r\n \r\n" * 500_000, 16, {"read": True}),
    }


def honest(url: str, request: bytes, seconds: float, queue: Any) -> None:
    """16 clients of one row each, that connect again when their connection ends."""

    async def ask() -> tuple[int, int]:
        end, good, bad = time.perf_counter() + seconds, 0, 0

        async def one() -> None:
            nonlocal good, bad
            while (left := end - time.perf_counter()) > 0:
                try:
                    async with asyncio.timeout(30):
                        seen = await closed_loop(address_of(url), [request], connections=1, seconds=left)
                except (OSError, TimeoutError):
                    bad += 1
                    continue
                good += seen.statuses.get(OK, 0)
                bad += sum(seen.statuses.values()) - seen.statuses.get(OK, 0)

        await asyncio.gather(*(one() for _ in range(HONEST)))
        return good, bad

    queue.put(asyncio.run(ask()))


def probe(netloc: str, seconds: float, queue: Any) -> None:
    """Health, 20 times a second, each on a connection of its own: the times, in seconds; infinite for none."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(netloc, timeout=5)
            connection.request("GET", "/v2/health/ready")
            good = connection.getresponse().status == OK
            connection.close()
        except (OSError, http.client.HTTPException):
            good = False
        times.append(time.perf_counter() - begin if good else float("inf"))
        time.sleep(0.05)
    queue.put(times)


class Server:
    """`aetool serve` with a port for health."""

    def __init__(self, *arguments: Any, drop_log: bool = True) -> None:
        command = [sys.executable, "-m", "aetool", "serve", "--port", "0", "--health-port", "0"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.log = self.process.stderr
        begun = next(found for line in self.log if (found := json.loads(line))["event"] == "serving")
        self.url: str = begun["url"]
        self.health: str = begun["health"]
        if drop_log:
            threading.Thread(target=lambda: all(True for _ in self.log), daemon=True).start()

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def stop(self) -> int:
        """Exit code."""
        self.process.terminate()
        return self.process.wait(timeout=120)


def watched(server: Server, request: bytes, seconds: float) -> dict[str, Any]:
    """What honest clients and both probes see for so long, and the largest size of the server."""
    address = address_of(server.url)
    queues = [spawn.Queue() for _ in range(3)]
    jobs = [
        spawn.Process(target=honest, args=(server.url, request, seconds, queues[0])),
        spawn.Process(target=probe, args=(f"{address.host}:{address.port}", seconds, queues[1])),
        spawn.Process(target=probe, args=(server.health.removeprefix("http://"), seconds, queues[2])),
    ]
    for job in jobs:
        job.start()
    most, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, server.resident_mb())
        time.sleep(0.05)
    (good, bad), usual, own = (queue.get(timeout=60) for queue in queues)
    for job in jobs:
        job.kill()
    return {
        "honest_per_s": good / seconds,
        "honest_failures": bad,
        "health_ms": health_figures(own),
        "health_on_the_main_port_ms": health_figures(usual),
        "most_resident_mb": most,
    }


def health_figures(times: list[float]) -> dict[str, Any]:
    answered = sorted(one * 1e3 for one in times if one < float("inf"))
    return {
        "probes": len(times),
        "failed": len(times) - len(answered),
        "median": statistics.median(answered) if answered else None,
        "most": answered[-1] if answered else None,
    }


def under_attack(seconds: float, only: str | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    rows = golden_rows()
    for name in attacks("http://127.0.0.1:1"):
        if only is not None and only not in name:
            continue
        server = Server(f"cancer={EXPORTED}", "--max-held-mb", HELD_MB, "--grace", 5)
        request = rows_request(server.url, rows[:1])
        first, count, how = attacks(server.url)[name]
        watched(server, request, 1.0)  # warm
        before = watched(server, request, seconds / 2)
        attacker = spawn.Process(
            target=hold, args=(server.url, first, count, time.time() + seconds + 60), kwargs=how
        )
        attacker.start()
        time.sleep(3)  # it has begun
        found = watched(server, request, seconds)
        begin = time.monotonic()
        code = server.stop()
        stopped_s = time.monotonic() - begin
        attacker.kill()
        quiet = before["honest_per_s"]
        results[name] = {
            **found,
            "quiet_per_s": quiet,
            "share_of_quiet": found["honest_per_s"] / quiet,
            "quiet_resident_mb": before["most_resident_mb"],
            "sigterm_s": stopped_s,
            "exit_code": code,
        }
        print(name, json.dumps(results[name]), flush=True)
    return results


def retrying(url: str, request: bytes, clients: int, seconds: float, queue: Any) -> None:
    """Clients that ask again at once, refused or not."""
    seen: LoadResult = asyncio.run(closed_loop(address_of(url), [request], connections=clients, seconds=seconds))
    refused = np.sort(seen.refused_s) * 1e3
    queue.put(
        {
            "clients": clients,
            "good_per_s": seen.statuses.get(OK, 0) / seen.seconds,
            "statuses": seen.statuses,
            "refused_p50_ms": float(np.quantile(refused, 0.5)) if len(refused) else None,
            "refused_p99_ms": float(np.quantile(refused, 0.99)) if len(refused) else None,
        }
    )


def overloaded(seconds: float, rounds: int, *queue: Any) -> dict[str, Any]:
    """Goodput with 16 clients of 64 rows, which a queue of 1,024 rows holds, and with 2, 4 and 8 times as many."""
    results: dict[int, list[dict[str, Any]]] = {}
    server = Server(f"cancer={EXPORTED}", *queue)
    try:
        request = rows_request(server.url, np.resize(golden_rows(), (64, 30)), output="reconstruction")
        for turn in range(-1, rounds):
            for clients in (HONEST, 2 * HONEST, 4 * HONEST, 8 * HONEST):
                queue = spawn.Queue()
                length = seconds if turn >= 0 else 1.0
                job = spawn.Process(target=retrying, args=(server.url, request, clients, length, queue))
                job.start()
                found = queue.get(timeout=120)
                job.kill()
                if turn >= 0:
                    results.setdefault(clients, []).append(found)
                    print("overload", json.dumps(found), flush=True)
    finally:
        server.stop()
    good = {clients: statistics.median(one["good_per_s"] for one in found) for clients, found in results.items()}
    best = max(good.values())
    return {
        "good_per_s": good,
        "share_of_best": {clients: value / best for clients, value in good.items()},
        "rounds": results,
    }


def odd_bundles(folder: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Ways in which a bundle can be odd, over and over; each spoils a copy."""

    def golden(change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
        def spoil(path: Path) -> None:
            with np.load(path / "golden.npz") as archive:
                arrays = {**archive, "score": change(archive["score"])}
            np.savez(stream := io.BytesIO(), **arrays)
            content = stream.getvalue()
            (path / "golden.npz").write_bytes(content)
            manifest = json.loads((path / "manifest.json").read_text())
            manifest["files"]["golden.npz"] = {"sha256": sha256(content), "size": len(content)}
            (path / "manifest.json").write_text(json.dumps(manifest))

        return spoil

    def changed(**fields: Any) -> Callable[[Path], None]:
        def spoil(path: Path) -> None:
            manifest = json.loads((path / "manifest.json").read_text())
            (path / "manifest.json").write_text(json.dumps({**manifest, **fields}))

        return spoil

    ways: dict[str, Callable[[Path], None]] = {
        "dates": golden(lambda score: score.astype("M8[s]")),
        "durations": golden(lambda score: score.astype("m8[s]")),
        "texts": golden(lambda score: score.astype("U9")),
        "bytes": golden(lambda score: score.astype("S9")),
        "complex": golden(lambda score: score.astype(complex)),
        "long doubles": golden(lambda score: score.astype(np.longdouble)),
        "records": golden(lambda score: score.astype([("a", "f4")])),
        "objects": golden(lambda score: score.astype(object)),
        "wrong scores": golden(lambda score: score + 1),
        "NaN scores": golden(lambda score: score * np.nan),
        "no rows": golden(lambda score: score[:0]),
        "another shape": golden(lambda score: score[:, None]),
        "no golden rows": lambda path: (path / "golden.npz").unlink(),
        "empty golden rows": lambda path: (path / "golden.npz").write_bytes(b""),
        "empty manifest": lambda path: (path / "manifest.json").write_bytes(b""),
        "bottomless manifest": lambda path: (path / "manifest.json").write_text("[" * 100_000),
        "another version": changed(format_version="9.0"),
        "no graphs": changed(files={}),
        "threshold of text": changed(threshold="high"),
        "cut graph": lambda path: (path / "detector.onnx").write_bytes(b"\x08\x0a"),
        "a directory as graph": lambda path: ((path / "encoder.onnx").unlink(), (path / "encoder.onnx").mkdir()),
        "a FIFO as graph": lambda path: ((path / "encoder.onnx").unlink(), os.mkfifo(path / "encoder.onnx")),
    }
    while True:
        yield from ways.items()


def replaced(count: int) -> dict[str, Any]:
    """Bundles published one after another, every tenth odd in another way: each has its line in the log."""
    seen: dict[str, Any] = {"published": 0, "served": 0, "refused": 0, "missed": 0, "wrong": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(EXPORTED, path := folder / "cancer")
        server = Server(path, drop_log=False)
        odd = odd_bundles(folder)
        for number in range(1, count + 1):
            shutil.copytree(EXPORTED, made := folder / "made")
            expected, way = "bundle replaced", ""
            if number % 10 == 0:
                way, spoil = next(odd)
                spoil(made)
                expected = "bundle refused, the old one is served"
            path.rename(folder / "old")
            made.rename(path)
            shutil.rmtree(folder / "old")
            timer = threading.Timer(60, server.process.kill)
            timer.start()
            found = next((json.loads(line) for line in server.log), {"event": "none"})
            timer.cancel()
            seen["published"] += 1
            seen["served" if found["event"] == "bundle replaced" else "refused"] += 1
            if found["event"] != expected:
                seen["missed"] += found["event"] == "none"
                seen["wrong"].append({"number": number, "way": way, **found})
                if found["event"] == "none":
                    break
        seen["exit_code"] = server.stop()
    return seen


def main() -> None:
    arguments: argparse.ArgumentParser = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0, help="of each attack")
    arguments.add_argument("--rounds", type=int, default=3, help="of the overload")
    arguments.add_argument("--replacements", type=int, default=500)
    arguments.add_argument("--only", help="attacks, overload or replacements")
    arguments.add_argument("--attack", help="part of an attack's name; writes no results")
    options = arguments.parse_args()
    results: dict[str, Any] = {"load_average": os.getloadavg()}
    for name, measure in (
        ("overload", lambda: overloaded(options.seconds / 4, options.rounds)),
        ("overload, a short queue", lambda: overloaded(options.seconds / 4, options.rounds, "--max-queue", 1024)),
        ("replacements", lambda: replaced(options.replacements)),
        ("attacks", lambda: under_attack(options.seconds, options.attack)),
    ):
        if options.only is None or options.only in name:
            results[name] = measure()
            if name != "attacks":
                print(name, json.dumps({k: v for k, v in results[name].items() if k != "rounds"}), flush=True)
    if options.only is None and options.attack is None:
        told = ("seconds", "rounds", "replacements")
        held = {"held_mb": HELD_MB, "honest": HONEST, "attackers": ATTACKERS}
        save("attacks", {**{key: value for key, value in vars(options).items() if key in told}, **held}, results)


if __name__ == "__main__":
    main()
