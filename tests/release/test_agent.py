"""An agent: what it takes, what it refuses, and what is current meanwhile."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import aetool
from aetool import OutputError, ReleaseError
from aetool.bundle.bundle import Bundle
from aetool.release import DirectoryStore, add_report, prove_apart, prove_here, status_of


def test_a_release_is_current_once_it_has_proven_itself_in_a_process_of_its_own(site):
    version = site.push("a")
    outcome = site.poll(prove=prove_apart)
    assert (outcome.event, outcome.version) == ("switched", version)
    assert site.current.name == version and site.whole() == Bundle.open(site.made / "a").manifest.id
    assert (site.device / "current").readlink() == Path("versions", version)
    assert list((site.device / "staging").iterdir()) == []


def test_the_next_release_takes_over_and_the_one_before_is_kept(site):
    first, second, third = site.push("a"), None, None
    site.poll()
    second = site.push("b")
    site.poll()
    assert site.current.name == second
    assert sorted(entry.name for entry in (site.device / "versions").iterdir()) == sorted([first, second])
    third = site.push("c")
    site.poll()
    assert sorted(entry.name for entry in (site.device / "versions").iterdir()) == sorted([second, third])
    assert site.poll().event == "current"


def test_two_channels_are_two_ways(site):
    site.push("a")
    canary = site.push("b", channel="canary")
    assert site.poll().version != canary
    assert site.poll(channel="canary").version == canary
    assert site.poll().event == "failed"  # stable is older
    assert site.poll(allow_downgrade=True).event == "switched"


def test_an_unsigned_store_will_do_where_no_signature_is_asked_for(site):
    site.push("a", private_key=None)
    assert site.poll(public_key=None).event == "switched"
    assert "is not signed, and a signature is required" in site.poll().message


# Proof


def test_a_bundle_that_computes_something_else_here_is_never_switched_to(site, monkeypatch, tmp_path):
    """The planted fault: on this device one kernel gives a wrong result."""
    first = site.push("a")
    site.poll(prove=prove_apart)
    second = site.push("b")
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(
        "from aetool.runtime.session import AutoencoderSession\n"
        "right = AutoencoderSession.run\n"
        "def wrong(self, graph, data):\n"
        "    found = right(self, graph, data)\n"
        "    if graph == 'decoder':\n"
        "        found['reconstruction'][:, 3] *= 1.01\n"
        "    return found\n"
        "AutoencoderSession.run = wrong\n"
    )
    with monkeypatch.context() as patched:
        patched.syspath_prepend(planted)
        outcome = site.poll(prove=prove_apart)
    assert (outcome.event, outcome.version) == ("refused", first)
    assert "decoder reconstruction of the golden rows differs on this machine" in outcome.message
    assert site.current.name == first and not (site.device / "versions" / second).exists()
    assert site.poll(prove=prove_apart).event == "held"  # not proven again at each look
    site.push("b")
    assert site.poll(prove=prove_apart).event == "switched"  # released anew


def test_a_bundle_that_crashes_its_process_is_refused(site, monkeypatch, tmp_path):
    site.push("a")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nif '_proof.py' in ' '.join(sys.orig_argv): os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    outcome = site.poll(prove=prove_apart)
    assert outcome.event == "refused" and "crashed (SIGSEGV)" in outcome.message
    assert site.poll(prove=prove_apart).version is None


def test_a_missing_package_is_no_fault_of_the_release(site):
    site.push("a")

    def prove(*_):
        raise aetool.DependencyError("onnxruntime", "cpu", "running a bundle")

    assert site.poll(prove=prove).event == "failed"
    assert site.poll().event == "switched"


# Reports


def test_an_error_that_a_program_reports_brings_the_version_before_back(site):
    first = site.push("a")
    site.poll()
    second = site.push("b")
    site.poll()
    add_report(site.device, error="the pump\nmodel gave NaN")
    with site.agent() as agent:
        outcome = agent.look()
        assert (outcome.event, outcome.version) == ("rolled back", first)
        assert "programs reported an error: the pump model gave NaN" in outcome.message
        assert agent.poll().event == "held" and site.current.name == first
        assert agent.look() is None
    assert second in status_of(site.device).state.refused
    with site.agent() as agent:
        assert agent.poll().event == "held"
        site.push("b")
        assert agent.poll().event == "switched"
        assert agent.look() is None  # the old error does not count again


def test_a_renewed_channel_does_not_try_a_version_again_that_was_taken_back(site):
    from aetool.release import renew

    site.push("a")
    site.poll()
    site.push("b")
    site.poll()
    add_report(site.device, error="no")
    with site.agent() as agent:
        agent.look()
        renew(site.store, private_key=site.private)
        assert agent.poll().event == "held"


def test_a_first_version_that_fails_is_kept_since_nothing_is_there_to_go_back_to(site):
    only = site.push("a")
    site.poll()
    add_report(site.device, error="no")
    with site.agent() as agent:
        assert agent.look().event == "failing"
    assert site.current.name == only


def test_so_many_errors_are_tolerated(site):
    site.push("a")
    site.poll()
    site.push("b")
    site.poll()
    for _ in range(2):
        add_report(site.device, error="no")
    with site.agent(most_errors=2) as agent:
        assert agent.look() is None
        add_report(site.device, error="no")
        assert "3 errors" in agent.look().message


# The directory


def test_two_agents_do_not_share_a_directory(site):
    site.push("a")
    with site.agent(), pytest.raises(ReleaseError, match="another agent keeps this directory"), site.agent():
        pass
    with site.agent() as agent:
        assert agent.poll().event == "switched"


def test_a_directory_that_cannot_be_written_is_named(site):
    site.device.write_text("a file")
    with pytest.raises(OutputError, match="cannot be an agent's directory"), site.agent():
        pass


def test_a_damaged_state_is_named_with_the_remedy(site):
    site.push("a")
    site.poll()
    (site.device / "state.json").write_text("{")
    with pytest.raises(ReleaseError, match="delete it to begin anew"), site.agent():
        pass
    (site.device / "state.json").unlink()
    assert site.poll().event == "current"


def test_a_current_version_that_the_disk_has_damaged_is_left_for_the_one_before_and_fetched_again(site):
    first = site.push("a")
    site.poll()
    second = site.push("b")
    site.poll()
    (site.current / "detector.onnx").write_bytes(b"rot")
    with site.agent() as agent:
        assert agent.version == first
        assert agent.poll().version == second and site.whole()
    shutil.rmtree(site.device / "versions" / first)
    (site.current / "detector.onnx").write_bytes(b"rot")
    assert site.poll().event == "switched" and site.whole()


def test_a_damaged_manifest_of_the_only_version_is_fetched_again(site):
    version = site.push("a")
    site.poll()
    (site.current / "manifest.json").write_text("{")
    assert site.poll().event == "switched" and site.whole() and site.current.name == version


def test_files_that_two_versions_share_are_fetched_once(site):
    site.push("a")
    site.poll()
    version = site.push("b")
    store = Counting(site.store)
    site.store = store
    site.poll()
    fetched = {name.rpartition("/")[2] for name in store.opened}
    shared = {
        name
        for name, record in Bundle.open(site.made / "a").manifest.files.items()
        if record == Bundle.open(site.made / "b").manifest.files[name]
    }
    assert site.current.name == version and shared and not fetched & shared


class Counting(DirectoryStore):
    """A store that remembers what was opened, and may break off after so many bytes of one file."""

    def __init__(self, path, most=None):
        super().__init__(path)
        self.opened, self.bytes, self._most = [], {}, most

    @contextlib.contextmanager
    def open(self, name):
        self.opened.append(name)
        with super().open(name) as stream:
            yield Metered(stream, self, name)


class Metered:
    def __init__(self, stream, store, name):
        self.stream, self.store, self.name = stream, store, name

    def seek(self, offset):
        return self.stream.seek(offset)

    def read(self, size=-1):
        if self.store._most is not None and self.name.endswith("golden.npz"):
            if self.store._most <= 0:
                raise OSError("connection lost")
            size = min(size, self.store._most)
            self.store._most -= size
        found = self.stream.read(size)
        self.store.bytes[self.name] = self.store.bytes.get(self.name, 0) + len(found)
        return found


def test_a_download_that_breaks_off_is_continued_where_it_stopped(site):
    version = site.push("a")
    path = site.store
    first, second = Counting(path, 50_000), Counting(path)
    site.store = first
    outcome = site.poll()
    assert outcome.event == "failed" and "golden.npz: cannot be read: connection lost" in outcome.message
    site.store = second
    assert site.poll().event == "switched"
    manifest = Bundle.open(site.current).manifest
    for name, record in manifest.files.items():
        whole_name = f"versions/{version}/{name}"
        assert first.bytes.get(whole_name, 0) + second.bytes.get(whole_name, 0) == record.size, name


def test_each_step_is_on_the_disk_before_the_next_depends_on_it(site, monkeypatch):
    """What a power cut could take: only what was flushed gets a name, and its directory is flushed after it."""
    site.push("a")
    steps = []
    real = {"fsync": os.fsync, "rename": Path.rename, "replace": Path.replace}

    def fsync(descriptor):
        steps.append(("flushed", Path(f"/proc/self/fd/{descriptor}").readlink()))
        real["fsync"](descriptor)

    def naming(name):
        def take(source, target):
            flushed = {path for what, path in steps if what == "flushed"}
            if source.is_file() and not source.is_symlink():
                assert source in flushed, f"{source} takes the name {target} unflushed"
            for below in [source, *source.rglob("*")] if source.is_dir() and not source.is_symlink() else []:
                assert below in flushed or ("named", below) in steps, below
            real[name](source, target)
            steps.append(("named", Path(target)))

        return take

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, naming(name))
    assert site.poll().event == "switched"
    monkeypatch.undo()
    device = site.device
    current = steps.index(("named", device / "current"))
    version = steps.index(("named", site.current))
    states = [place for place, step in enumerate(steps) if step == ("named", device / "state.json")]
    good = max(place for place in states if place < current)
    assert version < steps.index(("flushed", device / "versions"), version) < good < current
    assert good < steps.index(("flushed", device), good) < current < steps.index(("flushed", device), current)


def test_what_nobody_can_read_does_not_end_the_agent(site):
    with site.agent() as agent:
        assert agent.look() is None
        assert agent.poll().event == "failed"


def test_the_rows_of_the_current_model_are_those_of_the_bundle(site):
    site.push("a")
    site.poll()
    rows = np.ones((3, 30), np.float32)
    assert (aetool.load(site.current).score(rows) == aetool.load(site.made / "a").score(rows)).all()
    assert prove_here(site.current, "auto", None, aetool.Limits()) is None
