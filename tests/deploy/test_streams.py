"""Streams in C and JavaScript: over gaps, restarts, states and blocks of random sizes, the bits of Python's."""

import base64
import json
import os
import re
import shutil
import subprocess

import hosts
import numpy as np
import pytest
from series_bundles import WAVES, waves

import aetool
from aetool.bundle.bundle import Bundle
from aetool.deploy.c import c, symbol
from aetool.deploy.node import node

SAMPLES = 1_000_000 if os.environ.get("AETOOL_LONG") else 5_000
WINDOW, CHANNELS, GAP = 8, 3, 5.0


@pytest.fixture(scope="module", params=[2, 11], ids=["stride 2", "stride 11"])
def bundle(request, tmp_path_factory):
    path = shutil.copytree(WAVES, tmp_path_factory.mktemp("streams") / "waves")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["series"]["stride"] = request.param
    (path / "manifest.json").write_text(json.dumps(manifest))
    return Bundle.open(path)


@pytest.fixture(scope="module")
def log():
    """Samples, missing values among them, and their times, with gaps."""
    random = np.random.default_rng(3)
    samples = waves(SAMPLES, CHANNELS)
    samples[random.integers(0, SAMPLES, 20)] = np.nan
    times = np.cumsum(random.choice([1.0, 1.5, 30.0], SAMPLES, p=[0.7, 0.295, 0.005]))
    return samples, times


@pytest.fixture(scope="module")
def expected(bundle, log):
    with aetool.load(bundle.path, provider="native") as model:
        return model.stream().push(*log)


def bits(scores):
    """Bits of scores; sign and payload of a NaN are not specified."""
    found = np.array(scores)
    found[np.isnan(found)] = np.nan
    return found.view(np.uint32)


def held(state):
    return np.frombuffer(base64.b64decode(state["samples"]), np.float32)


C_PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "{name}.h"
/* Lines on stdin: whether there was a gap, whether to save and load, and a sample. Scores on stdout. */
int main(void) {{
    static {name}_stream stream, saved;
    struct {{ float gap, save, sample[{channels}]; }} line;
    while (fread(&line, sizeof line, 1, stdin) == 1) {{
        float score;
        if (line.save != 0) {{
            saved = stream;
            memset(&stream, 0xff, sizeof stream);
            stream = saved;
        }}
        if (line.gap != 0) {name}_stream_reset(&stream);
        if ({name}_stream_push(&stream, line.sample, &score)) fwrite(&score, sizeof score, 1, stdout);
    }}
    return 0;
}}
"""


def test_c_gives_the_bits_of_python(bundle, log, expected, write, need):
    need("generated C")
    folder, name = write(c(bundle, ("detector",))), symbol(bundle)
    (folder / "stream_main.c").write_text(C_PROGRAM.format(name=name, channels=CHANNELS))
    sources = [path.name for path in folder.glob(f"{name}_*.c")]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "streamed", "stream_main.c", *sources, "-lm", cwd=folder)
    samples, times = log
    lines = np.empty((SAMPLES, 2 + CHANNELS), np.float32)
    lines[:, 0] = np.diff(times, prepend=times[0]) > GAP
    lines[:, 1] = np.random.default_rng(4).random(SAMPLES) < 0.1
    lines[:, 2:] = samples
    done = subprocess.run([folder / "streamed"], input=lines.tobytes(), capture_output=True, check=True)
    assert (bits(np.frombuffer(done.stdout, np.float32)) == bits(expected)).all()


def test_the_example_in_c_takes_sample_after_sample_and_begins_anew_after_a_gap(
    bundle, log, expected, write, need
):
    need("generated C")
    folder, name = write(c(bundle, ("detector",))), symbol(bundle)
    sources = [path.name for path in folder.glob(f"{name}_*.c")]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "main", "main.c", *sources, "-lm", cwd=folder)
    samples, times = log
    lines = "".join(
        f"{time},{','.join(map(repr, map(float, row)))}\n"
        for row, time in zip(samples, (times + 1.7e9).tolist(), strict=True)
    )
    done = subprocess.run([folder / "main"], input=lines, capture_output=True, text=True, check=True)
    found = np.array([line.split() for line in done.stdout.splitlines()], np.float64)
    assert (bits(found[:, 1].astype(np.float32)) == bits(expected)).all()
    assert (found[:, 2].astype(bool) == ~(expected <= bundle.manifest.variants["fp32"].threshold)).all()
    assert np.isin(found[:, 0], times + 1.7e9).all()


def test_what_the_readme_of_c_shows_compiles(bundle, write, need):
    need("generated C")
    folder, name = write(c(bundle, ("detector",))), symbol(bundle)
    (shown,) = re.findall(r"```c\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (folder / "shown.c").write_text(
        f'#include "{name}.h"\nextern void alarm(void);\nextern double time, last_time;\n'
        f"void take(const float sample[{CHANNELS}]);\nvoid take(const float sample[{CHANNELS}]) {{\n{shown}}}\n"
    )
    hosts.run("gcc", *hosts.STRICT_C, "-c", "shown.c", cwd=folder)
    assert f"#define {name.upper()}_GAP {GAP}" in (folder / f"{name}.h").read_text()


def test_the_stream_in_c_needs_no_heap_and_no_more_than_its_window(bundle, write, need):
    need("generated C")
    folder, name = write(c(bundle, ("detector",))), symbol(bundle)
    (folder / "size.c").write_text(
        f'#include <stdio.h>\n#include "{name}.h"\nint main(void) {{ printf("%zu", sizeof({name}_stream)); }}\n'
    )
    hosts.run("gcc", "-std=c99", "-o", "size", "size.c", cwd=folder)
    size = int(subprocess.run([folder / "size"], capture_output=True, check=True).stdout)
    assert size == 4 * WINDOW * CHANNELS + 8
    hosts.run("gcc", *hosts.STRICT_C, "-c", f"{name}_stream.c", cwd=folder)
    names = subprocess.run(
        ["nm", "-u", f"{name}_stream.o"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert set(names.stdout.split()) - {"U"} <= {f"{name}_score", "memcpy", "memmove"}


NODE_PROGRAM = """
import { readFileSync, writeFileSync } from "node:fs";
import { load } from "./aetool.mjs";
const { samples, times, sizes, saves, channels } = JSON.parse(readFileSync(process.argv[2]));
const numbers = new Float32Array(readFileSync(samples).buffer.slice(0));
const when = new Float64Array(readFileSync(times).buffer.slice(0));
const model = await load();
let stream = model.stream();
const found = [];
let at = 0;
for (const [place, size] of sizes.entries()) {
  const block = numbers.subarray(at * channels, (at + size) * channels);
  const single = size === 1 && place % 2;
  const time = single ? when[at] : when.subarray(at, at + size);
  found.push(await stream.push(single ? Array.from(block) : block, time));
  at += size;
  if (saves[place]) stream = model.stream(JSON.parse(JSON.stringify(await stream.state())));
}
const length = found.reduce((sum, part) => sum + part.length, 0);
const scores = new Float32Array(length);
let place = 0;
for (const part of found) { scores.set(part, place); place += part.length; }
writeFileSync(process.argv[3], scores);
writeFileSync(process.argv[4], JSON.stringify(await stream.state()));
"""


def test_javascript_gives_the_bits_and_the_state_of_python(bundle, log, expected, write, need, tmp_path):
    need("Node on the core")
    folder, random = write(node(bundle)), np.random.default_rng(5)
    samples, times = log
    sizes = []
    while sum(sizes) < SAMPLES:
        sizes.append(min(int(random.choice([1, random.integers(1, 300)])), SAMPLES - sum(sizes)))
    samples.tofile(tmp_path / "samples")
    times.tofile(tmp_path / "times")
    given = {
        "samples": str(tmp_path / "samples"),
        "times": str(tmp_path / "times"),
        "sizes": sizes,
        "saves": [bool(random.random() < 0.1) for _ in sizes],
        "channels": CHANNELS,
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    (folder / "streamed.mjs").write_text(NODE_PROGRAM)
    hosts.run(
        "node", "streamed.mjs", *(str(tmp_path / name) for name in ("given.json", "scores", "state")), cwd=folder
    )
    assert (bits(np.fromfile(tmp_path / "scores", np.float32)) == bits(expected)).all()
    with aetool.load(bundle.path) as model:
        stream = model.stream()
        stream.push(samples, times)
    found, state = json.loads((tmp_path / "state").read_text()), stream.state()
    assert (bits(held(found)) == bits(held(state))).all()
    assert found | {"samples": ""} == state | {"samples": ""}
