"""Long-lived processes that use one bundle after another; a crash, a hang or a swollen one is an outcome too."""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"
PATIENCE_S = 5.0
"""Of its own CPU time, which does not pass while others have the machine."""
DEADLOCK_S = 120.0
MOST_MB = 512
"""That a worker may hold above what it held before the first bundle."""

_SCRIPT = """
import json, resource, sys
import numpy as np
import aetool

def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024

def use(path):
    with aetool.load(path, provider="cpu") as model:
        for graph in model.graphs:
            shape = model.manifest.embedding_shape if graph == "decoder" else model.input_shape
            model.run(graph, np.ones((2, *shape)))
        model.score(np.ones((70, *model.input_shape)))

use(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (int(status("VmSize") + 8192) << 20,) * 2)  # for the machine's sake
before = status("VmRSS")
print("ready", flush=True)
for line in sys.stdin:
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
    try:
        use(line.strip())
        outcome = "used"
    except aetool.AetoolError as error:
        outcome = type(error).__name__
        if not str(error).isprintable():
            outcome = f"a message that is not one line: {error!r}"
    except BaseException as error:
        outcome = f"raised {type(error).__name__}: {error}"
    print(json.dumps([outcome, status("VmHWM") - before]), flush=True)
"""


class Worker:
    """One process; a new one takes its place when it dies."""

    def __init__(self, good: Path, log: Path) -> None:
        self._good, self._log = good, log
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, self._good], stdin=-1, stdout=-1, stderr=stream, text=True
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def use(self, bundle: Path) -> str:
        """What came of it: `used`, the name of an AetoolError, or the fault in words."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{bundle}\n")
        self._process.stdin.flush()
        told = self._wait()
        line = self._process.stdout.readline() if told else ""
        if not line:
            fault = "died" if told else "hung"
            self.close()
            code = self._process.returncode
            self._start()
            return f"{fault} ({code})"
        outcome, grown = json.loads(line)
        return outcome if grown < MOST_MB else f"{outcome}, but took {grown:.0f} MB"

    def _wait(self) -> bool:
        """Whether it says something, before it has worked or slept for too long."""
        until, start = time.monotonic() + DEADLOCK_S, self._cpu_s()
        while time.monotonic() < until and self._cpu_s() < start + PATIENCE_S:
            if select.select([self._process.stdout], [], [], 0.5)[0]:
                return True
        return False

    def _cpu_s(self) -> float:
        times = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


ALLOWED = {"used", "BundleError", "InputError"}


def tally(outcomes: Counter[str]) -> str:
    """One line for the record."""
    return f"{sum(outcomes.values()):,} files: " + ", ".join(f"{n:,} {what}" for what, n in outcomes.most_common())


def long_or(short: int, long: int) -> int:
    """How many: `make fuzz` and `make soak` set AETOOL_LONG."""
    return long if os.environ.get("AETOOL_LONG") else short
