"""A small process that forks itself for each step of a release and kills the child.

One JSON object a line on stdin: step, its arguments, `kill_after` in seconds or null, and `kill_at` or null,
the number of the change to the disk before which the child ends. One a line on stdout: the child's exit code,
-9 where it was killed, the seconds that it took, and the changes that it made.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from aetool.release import Agent, DirectoryStore, add_report, prove_here, push


class LoggedStore(DirectoryStore):
    """A store that writes down which file was opened, whatever ends the process."""

    def __init__(self, path, log):
        super().__init__(path)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @contextlib.contextmanager
    def open(self, name):
        os.write(self._log, f"{name}\n".encode())
        with super().open(name) as stream:
            yield stream


def do(step, store, device, log, bundle, private, public, provider):
    if step == "push":
        push(bundle, Path(store), private_key=private, allow_downgrade=True)
        return
    if step == "roll back":
        add_report(Path(device), error="no")
    with Agent(
        LoggedStore(Path(store), log), device, public_key=public, provider=provider, prove=prove_here
    ) as agent:
        if step == "poll":
            outcome = agent.poll()
            assert outcome.event in ("switched", "current", "held"), outcome
        else:
            agent.look()


CHANGES = ("fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink")


def counted(kill_at):
    """Count the changes to the disk from now on; a list of their number."""
    number = [0]

    def counting(function):
        def change(*args, **options):
            number[0] += 1
            if number[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return change

    for name in CHANGES:
        setattr(os, name, counting(getattr(os, name)))
    return number


def answer(command):
    kill_after, kill_at = command.pop("kill_after"), command.pop("kill_at")
    reader, writer = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            number = counted(kill_at)
            do(**command)
            os.write(writer, str(number[0]).encode())
            code = 0
        except BaseException as error:  # noqa: BLE001 - it is reported
            sys.stderr.write(f"{command['step']}: {type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    if kill_after is not None:
        descriptor = os.pidfd_open(child)
        if not select.select([descriptor], [], [], kill_after)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        changes = int(stream.read() or 0)
    seconds = time.monotonic() - begin
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "changes": changes}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
