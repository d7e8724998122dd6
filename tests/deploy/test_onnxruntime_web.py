"""Where onnxruntime-web comes from: a directory, ./node_modules, the cache, npm; and what is not trusted."""

import io
import json
import tarfile

import pytest

from aetool.deploy import web as module
from aetool.deploy.web import SCRIPT, VERSION, WASM, onnxruntime_web
from aetool.errors import DependencyError, InputError


def package(folder, version="9.9.9"):
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": version}), encoding="utf-8")
    (folder / "dist" / SCRIPT).write_bytes(b"script")
    (folder / "dist" / WASM).write_bytes(b"wasm")
    return folder


def archive(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in {SCRIPT: b"packed script", WASM: b"packed wasm"}.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An empty directory and cache, and an `npm pack` that gives an archive and counts its calls."""
    work, programs, packed = tmp_path / "work", tmp_path / "bin", tmp_path / "packed.tgz"
    work.mkdir()
    programs.mkdir()
    packed.write_bytes(archive())
    script = programs / "npm"
    script.write_text(f'#!/bin/sh\necho "$2" >> {tmp_path}/calls\ncp {packed} "$5/it.tgz"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "INTEGRITY", module._integrity(packed.read_bytes()))
    return tmp_path


def test_a_directory_that_is_given_is_taken(npm):
    found = onnxruntime_web(package(npm / "given"))
    assert (found.script, found.wasm, found.version) == (b"script", b"wasm", "9.9.9")


def test_what_npm_installed_here_is_taken(npm):
    package(npm / "work" / "node_modules" / "onnxruntime-web")
    assert onnxruntime_web().version == "9.9.9"
    assert not (npm / "calls").exists()


def test_npm_is_asked_once_for_the_pinned_version(npm):
    for _ in range(2):
        found = onnxruntime_web()
        assert (found.script, found.wasm, found.version) == (b"packed script", b"packed wasm", VERSION)
    assert (npm / "calls").read_text(encoding="utf-8") == f"onnxruntime-web@{VERSION}\n"


def test_a_damaged_cache_is_fetched_again(npm):
    onnxruntime_web()
    (cached,) = (npm / "cache" / "aetool").iterdir()
    cached.write_bytes(cached.read_bytes()[:-1])
    assert onnxruntime_web().wasm == b"packed wasm"


def test_an_archive_with_another_hash_is_not_used(npm, monkeypatch):
    monkeypatch.setattr(module, "INTEGRITY", "sha512-other")
    with pytest.raises(DependencyError, match="sha512-other was expected"):
        onnxruntime_web()
    assert not (npm / "cache").exists()


def test_without_npm_the_remedy_is_told(npm, monkeypatch):
    monkeypatch.setenv("PATH", str(npm))
    with pytest.raises(DependencyError, match=r"needs npm.*install Node.js, or give .* --onnxruntime-web DIR"):
        onnxruntime_web()


def test_an_npm_without_a_network_is_told(npm):
    (npm / "bin" / "npm").write_text("#!/bin/sh\necho ENOTFOUND >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(DependencyError, match=r"npm pack could not fetch it \(ENOTFOUND\)"):
        onnxruntime_web()


def test_a_directory_that_is_something_else_is_told(npm):
    with pytest.raises(InputError, match=r"npm package onnxruntime-web is expected.*node_modules/onnxruntime-web"):
        onnxruntime_web(npm / "work")
