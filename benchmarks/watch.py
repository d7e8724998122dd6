"""`aetool watch` on a real broker for ten minutes: nothing lost, nothing twice, how long a message takes, memory.

    python benchmarks/watch.py                 ten minutes, 2,000 messages a second in 50 groups
    python benchmarks/watch.py --seconds 120   a trial

Needs mosquitto and the extra `mqtt`. The broker is restarted at 40 % of the time, and `watch` is killed (SIGKILL)
at 60 %. Every message completes a window (64 samples x 12 channels, stride 1) and gives a line with its score; the
time of a message runs from when it was due to be published to when its line was read. At the end each line is
compared with the batch path, bit for bit.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, save
from numpy.typing import NDArray
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from make_series_bundles import series_bundle
from series_bundles import waves

import aetool

WINDOW, CHANNELS = 64, 12
DISTURBED_S = 10.0
"""Seconds after a restart or a kill in which messages wait for it."""
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")


class Broker:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\nmax_queued_messages 0\n"
            f"persistence_location {folder}/\n" + ("user root\n" if os.getuid() == 0 else "")
        )
        self.start()

    def start(self) -> None:
        assert MOSQUITTO, "mosquitto is not installed"
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Lines(threading.Thread):
    """Reads a file of lines as it grows: when each line came."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.ended, self.lines = path, False, list[tuple[float, bytes]]()

    def run(self) -> None:
        while not self.path.exists():
            time.sleep(0.01)
        held = b""
        with self.path.open("rb", buffering=0) as stream:
            while not self.ended:
                content = stream.read(1 << 20)
                if not content:
                    time.sleep(0.001)
                    continue
                now = time.time()
                *whole, held = (held + content).split(b"\n")
                self.lines += [(now, line) for line in whole]


def rss(process: "subprocess.Popen[Any]") -> int:
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=600)
    arguments.add_argument("--rate", type=int, default=2000)
    arguments.add_argument("--groups", type=int, default=50)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), chosen.seconds, chosen.rate, chosen.groups)
    print(json.dumps(results, indent=2))
    if chosen.seconds >= 600:
        print(save("watch", vars(chosen) | {"window": WINDOW, "channels": CHANNELS}, results))


def measure(folder: Path, seconds: float, rate: int, groups: int) -> dict[str, Any]:  # noqa: PLR0915 - a course of events
    bundle = series_bundle(
        folder / "bundle", WINDOW, CHANNELS, 1, hidden=64, time="time", group="machine", gap=3600.0
    )
    broker, alerts = Broker(folder), folder / "alerts.jsonl"
    command = [sys.executable, "-m", "aetool", "watch", str(bundle), "--scores", "-o", str(alerts)]
    command += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}/plant/+", "--state", str(folder / "state")]

    def watching() -> "subprocess.Popen[Any]":
        return subprocess.Popen(command, stderr=(folder / "said").open("a"))

    process = watching()
    while "subscribed" not in (folder / "said").read_text():
        time.sleep(0.05)
    reader = Lines(alerts)
    reader.start()
    publisher = paho.Client(CallbackAPIVersion.VERSION2, client_id="publisher", clean_session=False)
    publisher.max_queued_messages_set(0)
    publisher.max_inflight_messages_set(1000)
    publisher.reconnect_delay_set(1, 1)
    publisher.connect("127.0.0.1", broker.port)
    publisher.loop_start()
    count = int(seconds * rate) // groups
    samples = [waves(count, CHANNELS, group) for group in range(groups)]
    texts = [[",".join(map(str, row)) for row in each.tolist()] for each in samples]
    keys = [f'"c{i}"' for i in range(CHANNELS)]
    begin = time.time() + 1
    due = np.array([[begin + (t * groups + group) / rate for t in range(count)] for group in range(groups)])
    memory, disturbed, late = [], [], 0.0
    for t in range(count):
        for group in range(groups):
            wait = due[group, t] - time.time()
            if wait > 0.0005:
                time.sleep(wait)
            late = max(late, -wait)
            values = ",".join(map("{}:{}".format, keys, texts[group][t].split(",")))
            publisher.publish(
                f"plant/{group}", f'{{"time":{float(due[group, t])!r},"machine":{group},{values}}}', qos=1
            )
        if t == int(0.4 * count):
            disturbed.append(time.time())
            broker.stop()
            threading.Timer(0.5, broker.start).start()
        if t == int(0.6 * count):
            disturbed.append(time.time())
            process.kill()
            process.wait()
            process = watching()
        if t % max(1, rate // groups) == 0:
            memory.append((time.time() - begin, rss(process)))
    expected = (count - WINDOW + 1) * groups
    limit = time.time() + 60
    while len(reader.lines) < expected and time.time() < limit:
        time.sleep(0.1)
    time.sleep(1)  # for what comes twice
    memory.append((time.time() - begin, rss(process)))
    process.terminate()
    code = process.wait(60)
    publisher.disconnect()
    publisher.loop_stop()
    broker.stop()
    reader.ended = True
    reader.join()
    return judged(bundle, samples, due, reader.lines, disturbed) | {
        "said": (folder / "said").read_text().splitlines(),
        "exit_code": code,
        "publisher_latest_s": round(late, 3),
        "memory_mib": {
            "after a tenth": mib(memory, seconds * 0.1),
            "before the kill": mib(memory, seconds * 0.59),
            "a tenth after the kill": mib(memory, seconds * 0.7),
            "end": mib(memory, seconds * 2),
        },
    }


def mib(memory: list[tuple[float, int]], at: float) -> float:
    return round(max((each for each in memory if each[0] <= at), default=memory[0])[1] / 2**20, 1)


def judged(
    bundle: Path,
    samples: list[NDArray[np.float32]],
    due: NDArray[np.float64],
    lines: list[tuple[float, bytes]],
    disturbed: list[float],
) -> dict[str, Any]:
    groups, count = due.shape
    place = {repr(float(due[group, t])): (group, t) for group in range(groups) for t in range(count)}
    times = np.zeros((groups, count), int)
    scores = np.full((groups, count), np.nan, np.float32)
    waited = np.full((groups, count), np.nan)
    for now, line in lines:
        found = json.loads(line)
        if found["kind"] == "score":
            group, t = place[repr(found["time"])]
            times[group, t] += 1
            scores[group, t], waited[group, t] = found["score"], now - found["time"]
    wrong = 0
    with aetool.load(bundle, provider="native") as model:
        for group, each in enumerate(samples):
            windows = np.lib.stride_tricks.sliding_window_view(each, WINDOW, axis=0).transpose(0, 2, 1)
            for first in range(0, len(windows), 4096):
                part = model.score(np.ascontiguousarray(windows[first : first + 4096]))
                mine = scores[group, WINDOW - 1 + first :][: len(part)]
                wrong += int((part.view(np.uint32) != mine.view(np.uint32)).sum())
    scored = times[:, WINDOW - 1 :]
    quiet = np.ones((groups, count), bool)
    for moment in disturbed:
        quiet &= (due < moment - 1) | (due > moment + DISTURBED_S)
    everyone, undisturbed = (1000 * waited[each & ~np.isnan(waited)] for each in (np.ones_like(quiet), quiet))
    return {
        "messages": groups * count,
        "windows": int(scored.size),
        "lost": int((scored == 0).sum()),
        "twice": int((scored > 1).sum()) + int((times[:, : WINDOW - 1] > 0).sum()),
        "other_bits": wrong,
        "ms": {f"p{q}": round(float(np.percentile(everyone, q)), 2) for q in (50, 90, 99, 99.9)},
        "ms_undisturbed": {f"p{q}": round(float(np.percentile(undisturbed, q)), 2) for q in (50, 90, 99, 99.9)},
    }


if __name__ == "__main__":
    main()
