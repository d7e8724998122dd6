"""Disks that are full or elsewhere, and two processes at one place: the old result or the new one, or one line."""

import contextlib
import os
import subprocess
import threading
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from bundle_workers import long_or
from click.testing import CliRunner
from commands import ENDINGS, WRITING, Runner, bundle_state, line
from documented import QUICK

import aetool
from aetool import BundleError
from aetool.cli import main

ROUNDS = long_or(1, 20)


@contextlib.contextmanager
def mounted(path, size):
    """A file system of its own at `path`."""
    path.mkdir(exist_ok=True)
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=False, capture_output=True
        ).returncode
    )
    if not made:
        pytest.skip("no right to mount a file system here")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def given(sources, words):
    return [str(sources / word) if (sources / word).exists() else word for word in words]


def run(sources, words, out):
    with mock.patch("aetool.quantize.QuantizeOptions", QUICK):  # how long speed is measured matters to no disk
        return CliRunner().invoke(main, [str(word) for word in line(words, sources, out)])


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_fails_in_one_line_and_keeps_the_old_result(name, sources, tmp_path):
    writing = WRITING[name]
    with mounted(tmp_path / "disk", "1m") as disk:
        out = disk / f"out{ENDINGS.get(name, '')}"
        assert run(sources, writing.old, out).exit_code == 0
        old = writing.state(out)
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 512)
        failed = run(sources, writing.new, out)
        assert failed.exit_code == 1
        assert failed.stderr.splitlines()[-1].startswith(f"Error: {out}: could not be written: ")
        assert writing.state(out) == old
        assert sorted(entry.name for entry in disk.iterdir()) == sorted(["ballast", out.name])


@pytest.mark.parametrize("name", WRITING)
def test_another_file_system_is_as_good_as_any(name, sources, tmp_path):
    writing = WRITING[name]
    with mounted(tmp_path / "disk", "8m") as disk:
        out = disk / f"out{ENDINGS.get(name, '')}"
        for words in (writing.old, writing.new):
            assert run(sources, words, out).exit_code == 0
        writing.state(out)
        assert [entry.name for entry in disk.iterdir()] == [out.name]


@pytest.mark.parametrize("left", [0, 150, 4096, 4096 + 150])
def test_a_full_disk_leaves_nothing_of_a_key_that_blocks_a_retry(tmp_path, left):
    pytest.importorskip("cryptography")
    with mounted(tmp_path / "disk", "64k") as disk:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(b"x" * 512)
        os.truncate(ballast, ballast.stat().st_size - left)
        failed = CliRunner().invoke(main, ["keygen", "-o", str(disk / "key.pem")])
        if failed.exit_code:
            assert "cannot be written: No space left on device; nothing was written" in failed.stderr
            assert list(disk.iterdir()) == [ballast]
        ballast.unlink()
        again = CliRunner().invoke(main, ["keygen", "-o", str(disk / "key.pem")])
        assert failed.exit_code == 0 or again.exit_code == 0, again.stderr
        assert sorted(entry.name for entry in disk.iterdir()) == ["key.pem", "key.pem.pub"]
        assert (disk / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_mount_point_cannot_be_replaced_and_is_told(sources, tmp_path):
    with mounted(tmp_path / "disk", "8m") as disk:
        failed = run(sources, WRITING["export"].new, disk)
        assert failed.exit_code == 1 and f"Error: {disk}: could not be written" in failed.stderr
        assert list(disk.iterdir()) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["disk"]


@pytest.fixture(scope="module")
def two_runners(runner, sources, tmp_path_factory):
    """Two processes, warm."""
    with Runner() as other:
        for each in (runner, other):
            out = tmp_path_factory.mktemp("warm") / "bundle"
            assert each.run([*given(sources, WRITING["export"].old), "-o", out], apart=False) == 0
        yield runner, other


def test_two_exports_at_once_leave_one_whole_bundle(two_runners, sources, tmp_path):
    codes = Counter()

    def export(runner, words, out, *more):
        codes[runner.run([*given(sources, words), "-o", out, *more])] += 1

    for i in range(ROUNDS):
        out, more = tmp_path / str(i % 2), ("--overwrite",) if i % 2 else ()
        if not more:
            out = tmp_path / f"new{i}"
        words = (WRITING["export"].old, WRITING["export"].new)
        threads = [
            threading.Thread(target=export, args=(runner, each, out, *more))
            for runner, each in zip(two_runners, words, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bundle_state(out) in ("old", "new")
    assert set(codes) <= {0, 1} and codes[0] >= ROUNDS  # without --overwrite the slower one may be refused
    assert not list(tmp_path.glob(".aetool-*"))


def test_who_loads_while_others_export_gets_the_old_one_or_the_new_one(two_runners, sources, tmp_path):
    out, rows = tmp_path / "bundle", np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    thresholds = {"old": "1.5", "new": "2.5"}

    def export(name):
        words = [*given(sources, WRITING["export"].old)[:2], "--name", name, "--threshold", thresholds[name]]
        assert two_runners[0].run([*words, "-o", out, "--overwrite"]) == 0

    expected = {}
    for name in ("new", "old"):
        export(name)
        with aetool.load(out, provider="cpu") as model:
            expected[name, model.threshold] = model.detect(rows).tobytes()
    assert len(set(expected.values())) == 2
    seen, done = Counter(), threading.Event()

    def look():
        while not done.is_set():
            try:
                with aetool.load(out, provider="cpu") as model:
                    key = (model.name, model.threshold)
                    seen["whole" if expected[key] == model.detect(rows).tobytes() else f"mixed {key}"] += 1
            except BundleError:  # the manifest of one and a file of the other: refused
                seen["refused"] += 1

    looking = threading.Thread(target=look)
    looking.start()
    for i in range(ROUNDS):
        export(("new", "old")[i % 2])
    done.set()
    looking.join()
    print(f"\n{dict(seen)}")
    assert set(seen) <= {"whole", "refused"} and seen["whole"] > 10
