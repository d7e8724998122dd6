"""Real processes of `aetool watch`, and what they write."""

import json
import signal
import subprocess
import sys
import time

PATIENCE_S = 60


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def message(when, group, sample):
    values = {f"c{i}": float(value) for i, value in enumerate(sample)}
    return json.dumps({"time": when, "machine": group, **values})


def run_watch(bundle, text, *options):
    """Watch a text to its end; return the records and what was said."""
    done = subprocess.run(
        command(bundle, *options), input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return lines_of(done.stdout), done.stderr


def command(bundle, *options):
    return [sys.executable, "-m", "aetool", "watch", str(bundle), *map(str, options)]


class Watching:
    """A watch that goes on until it is ended."""

    def __init__(self, bundle, *options, **more):
        self.process = subprocess.Popen(
            command(bundle, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    def kill(self):
        """SIGKILL, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def end(self):
        """SIGTERM: return what it wrote and said."""
        self.process.send_signal(signal.SIGTERM)
        out, said = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, said
        return lines_of(out), said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def until(found, what="it"):
    """Wait until `found()` is true."""
    limit = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < limit, f"{what} did not happen"
        time.sleep(0.02)


def records_in(path):
    """Records in a file of alerts, whole lines alone."""
    text = path.read_text() if path.exists() else ""
    return lines_of(text[: text.rfind("\n") + 1])
