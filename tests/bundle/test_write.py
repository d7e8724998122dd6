"""A bundle appears whole or not at all, whatever happens on the way."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aetool import BundleError, OutputError
from aetool.bundle import atomic
from aetool.bundle.atomic import publish_directory, publish_file, require_new
from aetool.bundle.bom import BOM
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import read_inside
from aetool.bundle.write import publish

GUARD_S = 30


@pytest.fixture(scope="module")
def whole(exported):
    """manifest and files of a real bundle."""
    bundle = Bundle.open(exported)
    return bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.files}


def content(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def names(path):
    return [entry.name for entry in path.iterdir()]


def refused(action):
    with pytest.raises(OutputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_published_is_what_was_given(tmp_path, whole):
    manifest, files = whole
    path = tmp_path / "new" / "parents" / "bundle"
    published = publish(path, manifest, files)
    found = Bundle.open(path).manifest
    assert published.check_files() == len(found.files) and set(found.files) - set(files) == {BOM}
    assert found == manifest._replace(files={**manifest.files, BOM: found.files[BOM]})
    assert names(path.parent) == ["bundle"]


def test_a_manifest_that_nobody_would_read_is_not_written(tmp_path, whole):
    manifest, files = whole
    large = manifest._replace(provenance={"notes": "x" * (8 << 20)})
    assert "8,388,608 are read" in refused(lambda: publish(tmp_path / "out", large, files))
    assert names(tmp_path) == []


def test_files_in_directories_of_the_bundle(tmp_path):
    publish_directory(tmp_path / "out", {"int8/deep/encoder.onnx": b"1", "a.json": b"2"})
    assert content(tmp_path / "out") == {"int8/deep/encoder.onnx": b"1", "a.json": b"2"}


OCCUPIED = {
    "a directory": lambda path: path.mkdir(),
    "a bundle": lambda path: publish_directory(path, {"a": b"old"}),
    "a file": lambda path: path.write_bytes(b"old"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to a directory": lambda path: path.symlink_to(path.parent),
}


@pytest.mark.parametrize("occupy", OCCUPIED.values(), ids=OCCUPIED)
def test_an_existing_output_is_refused_and_stays(tmp_path, occupy):
    occupy(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    message = refused(lambda: publish_directory(tmp_path / "out", {"a": b"new"}))
    assert "exists already; choose another name or pass --overwrite" in message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["a file", "a dangling link", "a link to a directory"])
def test_overwrite_does_not_replace_what_is_no_directory(tmp_path, kind):
    OCCUPIED[kind](tmp_path / "out")
    assert "is not a directory" in refused(lambda: publish_directory(tmp_path / "out", {"a": b""}, overwrite=True))
    assert os.path.lexists(tmp_path / "out")


def test_overwrite_does_not_replace_somebody_elses_directory(tmp_path, whole):
    manifest, files = whole
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    (home / "README.md").write_text("mine")
    for path in (home, Path(os.path.relpath(home)), home / "." / ".." / "home"):
        message = refused(lambda path=path: publish(path, manifest, files, overwrite=True))
        assert "it will not be replaced" in message
    assert (home / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("occupy", [OCCUPIED["a directory"], OCCUPIED["a bundle"]])
def test_overwrite_replaces_an_older_one_whole(tmp_path, occupy):
    occupy(tmp_path / "out")
    publish_directory(tmp_path / "out", {"a": b"new", "b": b"more"}, overwrite=True)
    assert content(tmp_path / "out") == {"a": b"new", "b": b"more"}
    publish_directory(tmp_path / "out", {"a": b"newest"}, overwrite=True)
    assert content(tmp_path / "out") == {"a": b"newest"}
    assert names(tmp_path) == ["out"]


def test_overwriting_the_working_directory(tmp_path, monkeypatch):
    publish_directory(tmp_path / "out", {"a": b"old"})
    monkeypatch.chdir(tmp_path / "out")
    publish_directory(Path(), {"a": b"new"}, overwrite=True)
    assert content(tmp_path / "out") == {"a": b"new"}


def test_without_an_exchange_of_names_overwriting_still_works(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    publish_directory(tmp_path / "out", {"a": b"old"})
    publish_directory(tmp_path / "out", {"a": b"new"}, overwrite=True)
    assert content(tmp_path) == {"out/a": b"new"}


def test_a_failed_replacement_puts_the_old_one_back(tmp_path, monkeypatch):
    publish_directory(tmp_path / "out", {"a": b"old"})
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    rename = Path.rename

    def fail_once(self, target):
        if self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    assert "Input/output" in refused(lambda: publish_directory(tmp_path / "out", {"a": b"new"}, overwrite=True))
    assert content(tmp_path) == {"out/a": b"old"}


IMPOSSIBLE = {
    "below a file": lambda tmp: (tmp / "file").write_text("") or tmp / "file" / "out",
    "a name that is too long": lambda tmp: tmp / ("x" * 300),
    "a name with NUL": lambda tmp: tmp / "a\0b",
}


@pytest.mark.parametrize("make", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_place_is_refused_and_nothing_stays(tmp_path, make):
    path = make(tmp_path)
    before = content(tmp_path)
    refused(lambda: publish_directory(path, {"a": b""}))
    assert content(tmp_path) == before
    assert not list(tmp_path.glob(".aetool-*"))


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(lambda: require_new(tmp_path / "file" / "out", False))
    assert "too long" in refused(lambda: require_new(tmp_path / ("x" * 300), False))


def test_a_read_only_directory_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
    elif not shutil.which("chattr") or subprocess.run(["chattr", "+i", folder], check=False).returncode:
        pytest.skip("root, and the file system has no immutable directories")
    try:
        assert str(folder) in refused(lambda: publish_directory(folder / "out", {"a": b""}))
        assert names(folder) == []
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", folder], check=True)
        folder.chmod(0o755)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path, overwrite):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False, stderr=-3).returncode
        == 0
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if overwrite:
            publish_directory(disk / "out", {"a": b"old"})
        before = content(disk)
        if not mounted:  # the next best thing: files may not grow
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        files = {"a": b"new", "b": bytes(200_000)}
        message = refused(lambda: publish_directory(disk / "out", files, overwrite=overwrite))
        assert "No space left" in message or "too large" in message
        assert "nothing was changed" in message
        assert content(disk) == before
        assert names(disk) == (["out"] if overwrite else [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", disk], check=True)


# A process that dies, and one that looks on

KILLED = """
import sys, time
from pathlib import Path
from aetool.bundle import atomic

path, point, overwrite = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
real = getattr(atomic, point.split()[1])

def stop_here(*arguments):
    if point.startswith("after"):
        real(*arguments)
    if point.startswith("inside"):
        arguments[0].parent.mkdir(exist_ok=True)
        arguments[0].write_bytes(b"ne")
    print("here", flush=True)
    time.sleep(600)

setattr(atomic, point.split()[1], stop_here)
atomic.publish_directory(path, {"a": b"new", "b": b"new"}, overwrite=overwrite)
"""
POINTS = ["before write_file", "inside write_file", "after write_file", "before sync_directory"]
POINTS += ["before _take_name", "after _take_name"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_process_leaves_the_old_one_or_nothing(tmp_path, point, overwrite):
    out = tmp_path / "out"
    if overwrite:
        publish_directory(out, {"a": b"old"})
    arguments = [sys.executable, "-c", KILLED, out, point, str(overwrite)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    if point == "after _take_name":
        assert content(out) == {"a": b"new", "b": b"new"}
    elif overwrite:
        assert content(out) == {"a": b"old"}
    else:
        assert not out.exists()
    publish_directory(out, {"a": b"again"}, overwrite=True)  # and nothing stands in the way of the next
    assert content(out) == {"a": b"again"}


def look_on(path, ready, done, results):
    """Opens and checks what is at `path`, again and again."""
    seen, faults = [], []
    while not done.is_set():
        try:
            bundle = Bundle.open_whole(path)
            seen.append((bundle.manifest.name, bundle.read("README.md")))
        except BundleError as error:
            # Between two reads of its own a caller can meet the next bundle, and is told so.
            if "README.md" not in str(error):
                faults.append(str(error))
        ready.set()
    results.send((seen, faults))


def test_whoever_looks_on_while_bundles_are_overwritten_sees_only_whole_ones(tmp_path, whole):
    manifest, files = whole
    path = tmp_path / "bundle"

    def publish_named(name):
        changed = {**files, "README.md": f"# {name}".encode(), "golden.npz": os.urandom(300_000)}
        named = manifest._replace(name=name)
        publish(path, named, changed, overwrite=True)

    publish_named("0")
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=look_on, args=(path, ready, done, sender))
    process.start()
    try:
        assert ready.wait(GUARD_S)
        for i in range(1, 80):
            publish_named(str(i))
        done.set()
        assert receiver.poll(GUARD_S)
        seen, faults = receiver.recv()
    finally:
        process.kill()
    assert faults == []
    assert len({name for name, _ in seen}) > 3
    assert all(text == f"# {name}".encode() for name, text in seen)


def test_an_opened_bundle_that_was_replaced_says_so(tmp_path, whole):
    manifest, files = whole
    first = publish(tmp_path / "bundle", manifest, files)
    changed = {**files, "README.md": b"other"}
    publish(tmp_path / "bundle", manifest, changed, overwrite=True)
    with pytest.raises(BundleError, match="was replaced by another bundle"):
        first.check_files()


def test_a_directory_replaced_between_opening_it_and_its_file_is_opened_again(tmp_path, monkeypatch):
    publish_directory(tmp_path / "out", {"a": b"old"})
    real = os.open

    def replace_first(path, *arguments, **options):
        if path == "a" and "dir_fd" in options:
            monkeypatch.setattr(os, "open", real)
            publish_directory(tmp_path / "out", {"a": b"new"}, overwrite=True)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", replace_first)
    assert read_inside(tmp_path / "out", "a", 10) == b"new"


# Reading


def test_reading_stays_inside_and_below_the_limit(tmp_path):
    publish_directory(tmp_path / "out", {"a": b"12345", "b/c": b"1"})
    assert read_inside(tmp_path / "out", "a", 5) == b"12345"
    assert read_inside(tmp_path / "out", "b/c", 5) == b"1"
    (tmp_path / "out" / "link").symlink_to("b")
    os.mkfifo(tmp_path / "out" / "fifo")
    for name in ("b", "link", "link/c", "fifo", "a/x", "../out/a", str(tmp_path / "out" / "a"), ""):
        with pytest.raises(OSError):
            read_inside(tmp_path / "out", name, 5)
    with pytest.raises(OSError, match="more than the 4 allowed"):
        read_inside(tmp_path / "out", "a", 4)
    with pytest.raises(OSError, match="more than the 5 bytes allowed"):
        read_inside(Path("/proc/self"), "maps", 5)  # says that it is empty


def test_reading_leaks_no_descriptors(tmp_path):
    publish_directory(tmp_path / "out", {"a": b"1", "b/c": b"1"})
    before = len(names(Path("/proc/self/fd")))
    for name in ("a", "b/c", "b", "none", "b/none", "a/x", ".."):
        for _ in range(20):
            try:
                read_inside(tmp_path / "out", name, 5)
            except OSError:
                continue
    assert len(names(Path("/proc/self/fd"))) == before


# What a killed process leaves behind


def test_the_next_run_clears_what_dead_processes_left(tmp_path):
    for name in (".aetool-dead.tmp", ".aetool-0011223344556677.tmp"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a").write_bytes(b"half")
    (tmp_path / ".aetool-file.tmp").write_bytes(b"half")
    publish_directory(tmp_path / "out", {"a": b"new"})
    assert names(tmp_path) == ["out"]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    arguments = [sys.executable, "-c", KILLED, tmp_path / "theirs", "before _take_name", "False"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        (theirs,) = tmp_path.iterdir()
        before = content(theirs)
        atomic.publish_file(tmp_path / "mine", b"1")
        publish_directory(tmp_path / "ours", {"a": b"new"})
        assert content(theirs) == before == {"a": b"new", "b": b"new"}
        process.kill()
    publish_directory(tmp_path / "last", {"a": b"new"})
    assert sorted(names(tmp_path)) == ["last", "mine", "ours"]


def test_a_fifo_or_a_link_under_the_name_of_debris_harms_nobody(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("years of work")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".aetool-link.tmp").symlink_to(elsewhere)
    os.mkfifo(folder / ".aetool-fifo.tmp")
    publish_directory(folder / "out", {"a": b"new"})
    assert (elsewhere / "thesis.tex").read_text() == "years of work"
    assert ".aetool-link.tmp" in names(folder)


def test_where_a_file_system_has_no_locks_nothing_is_taken_for_dead(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    (tmp_path / ".aetool-somebody.tmp").mkdir()
    publish_directory(tmp_path / "out", {"a": b"new"})
    assert sorted(names(tmp_path)) == [".aetool-somebody.tmp", "out"]


# Links that lie in wait


def test_replacing_a_directory_follows_no_link_in_it(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_text("mine")
    publish_directory(tmp_path / "out", {"a": b"old", "sub/a": b"old"})
    (tmp_path / "out" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "out" / "sub" / "a").unlink()
    (tmp_path / "out" / "sub" / "a").symlink_to(tmp_path / "outside" / "a")
    (tmp_path / ".aetool-0123456789abcdef.tmp").symlink_to(tmp_path / "outside")  # as a dead process
    publish_directory(tmp_path / "out", {"a": b"new", "sub/a": b"new"}, overwrite=True)
    assert (tmp_path / "outside" / "a").read_text() == "mine"
    assert content(tmp_path / "out") == {"a": b"new", "sub/a": b"new"}


def test_replacing_a_file_that_is_a_link_replaces_the_link(tmp_path):
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "out").symlink_to("outside")
    publish_file(tmp_path / "out", b"new", overwrite=True)
    assert (tmp_path / "outside").read_text() == "mine"
    assert (tmp_path / "out").read_bytes() == b"new" and not (tmp_path / "out").is_symlink()
