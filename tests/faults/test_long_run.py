"""Millions of rows from many threads, with forks in between: nothing grows, and no result ever changes."""

import json
import subprocess
import sys

from bundle_workers import EXPORTED, long_or

CALLS = long_or(24_000, 1_000_000)

SCRIPT = """
import hashlib, json, os, sys, threading
import numpy as np
import aetool

THREADS, PASS = 8, 500  # calls in one pass of a thread, which is repeated
passes = int(sys.argv[2]) // (THREADS * PASS)
rows = np.random.default_rng(0).normal(10, 5, (400, 30)).astype(np.float32)
model = aetool.load(sys.argv[1], provider="cpu")
served = [0] * THREADS
faults = []

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def one_pass(seed):
    random, digest, given = np.random.default_rng(seed), hashlib.sha256(), 0
    for i, size in enumerate(random.integers(1, 20, PASS)):
        batch = rows[random.integers(0, 380) :][:size]
        method = (model.score, model.reconstruct, model.encode, model.detect)[i % 4]
        digest.update(method(batch).tobytes())
        given += size
    return digest.hexdigest(), given

def serve(seed):
    first = one_pass(seed)
    for _ in range(passes - 1):
        if one_pass(seed) != first:
            faults.append(f"thread {seed}: another result")
        served[seed] += first[1]
        barrier.wait()
    served[seed] += first[1]

expected = one_pass(99)
memory = []
def look():
    memory.append(resident())
    if len(memory) % max(1, passes // 8) == 0:
        child = os.fork()
        if child == 0:
            os._exit(0 if one_pass(99) == expected else 1)
        if os.waitpid(child, 0)[1]:
            faults.append("a forked process failed")

barrier = threading.Barrier(THREADS, action=look)
threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
settled = memory[len(memory) // 10]
print(json.dumps({"rows": sum(map(int, served)), "calls": passes * PASS * THREADS, "faults": faults,
                  "settled_mb": settled, "last_mb": memory[-1], "peak_mb": max(memory[len(memory) // 10:])}))
"""


def test_many_threads_for_long_give_the_same_bits_and_memory_stays_flat():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, EXPORTED, str(CALLS)],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"\n{found}")
    assert found["faults"] == []
    assert found["rows"] > 9 * found["calls"]
    assert found["last_mb"] < found["settled_mb"] * 1.02 + 1
