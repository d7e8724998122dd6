"""A signature binds a bundle to the owner of a key: who asks for it gets that bundle or one line."""

import json
import pickle
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import aetool
from aetool import BundleError, DependencyError, InputError, OutputError
from aetool.bundle.bundle import Bundle
from aetool.bundle.keys import write_keys
from aetool.bundle.manifest import SIGNATURE
from aetool.bundle.write import publish, sign_bundle
from aetool.checks.verify import verify_bundle
from aetool.cli import main

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Private and public."""
    private = tmp_path_factory.mktemp("keys") / "mine.pem"
    return private, write_keys(private)


@pytest.fixture
def signed(tmp_path, keys):
    path = tmp_path / "bundle"
    shutil.copytree(EXPORTED, path)
    sign_bundle(path, keys[0])
    return path


def refused(path, key, error=BundleError):
    with pytest.raises(error) as caught:
        aetool.load(path, provider="cpu", require_signature=key)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_signed_bundle_loads_with_its_owners_key_and_verifies(signed, keys):
    with aetool.load(signed, provider="cpu", require_signature=keys[1]) as model:
        assert model.score(np.ones((2, 30))).shape == (2,)
    assert all(record.passed for record in verify_bundle(signed, public_key=keys[1]))
    assert sorted(path.name for path in signed.parent.iterdir()) == ["bundle"]


def test_a_signed_bundle_is_a_bundle_for_those_who_ask_for_no_signature(signed):
    assert Bundle.open_whole(signed).manifest == Bundle.open(EXPORTED).manifest


def test_without_a_signature_the_message_says_so(keys):
    assert "is not signed, and a signature is required" in refused(EXPORTED, keys[1])


def test_a_manifest_changed_after_signing_is_refused_and_the_cause_is_guessed(signed, keys):
    text = (signed / "manifest.json").read_text()
    (signed / "manifest.json").write_text(text.replace('"created"', '"made": "", "created"'))
    assert "is not what was signed; it was changed since, as by a variant added later" in refused(signed, keys[1])


def test_publishing_again_takes_the_signature_away(signed, keys):
    bundle = Bundle.open(signed)
    publish(signed, bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.files}, overwrite=True)
    assert "a variant added later removes the signature" in refused(signed, keys[1])
    sign_bundle(signed, keys[0])
    aetool.load(signed, require_signature=keys[1])


def test_a_graph_changed_after_signing_is_refused_by_its_hash(signed, keys):
    content = bytearray((signed / "detector.onnx").read_bytes())
    content[-1] ^= 1
    (signed / "detector.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="sha256"), aetool.load(signed, require_signature=keys[1]) as model:
        model.score(np.ones((1, 30)))


def test_the_signature_of_another_bundle_is_refused(signed, keys, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(EXPORTED, other)
    text = (other / "manifest.json").read_text().replace("breast-cancer", "other")
    (other / "manifest.json").write_text(text)
    shutil.copy(signed / SIGNATURE, other)
    assert "is not what was signed" in refused(other, keys[1])


def test_another_key_is_named(signed, tmp_path):
    stranger = write_keys(tmp_path / "stranger.pem")
    assert "made with the key" in refused(signed, stranger) and str(stranger) in refused(signed, stranger)


NO_SIGNATURES = {
    "not JSON": b"no",
    "a list": b"[]",
    "no base64": b'{"algorithm": "ed25519", "signature": "!"}',
    "a number": b'{"algorithm": "ed25519", "signature": 1}',
    "too short": b'{"algorithm": "ed25519", "signature": "YQ=="}',
    "another algorithm": b'{"algorithm": "none", "signature": ""}',
    "a key twice": b'{"algorithm": "ed25519", "algorithm": "none", "signature": ""}',
    "too large": b" " * 100_000,
    "bottomless": b"[" * 50_000,
}


@pytest.mark.parametrize("content", NO_SIGNATURES.values(), ids=NO_SIGNATURES)
def test_what_is_no_signature_is_refused(signed, keys, content):
    (signed / SIGNATURE).write_bytes(content)
    refused(signed, keys[1])


def test_a_signed_bundle_of_links_is_checked_where_links_are_allowed(signed, keys):
    (signed / "..data").mkdir()
    for file in [entry for entry in signed.iterdir() if entry.is_file()]:
        file.rename(signed / "..data" / file.name)
        file.symlink_to(f"..data/{file.name}")
    links = aetool.Limits(symbolic_links=True)
    aetool.load(signed, require_signature=keys[1], limits=links)
    with pytest.raises(BundleError, match="made with the key"):
        aetool.load(signed, require_signature=write_keys(signed.parent / "other.pem"), limits=links)


def test_a_key_that_cannot_be_written_whole_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "key.pub").mkdir()  # in the way of the second half
    with pytest.raises(OutputError, match="never replaced"):
        write_keys(tmp_path / "key")
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pub"]
    (tmp_path / "key.pub").rmdir()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_keys(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_a_linked_signature_is_refused(signed, keys, tmp_path):
    (signed / SIGNATURE).rename(tmp_path / "elsewhere")
    (signed / SIGNATURE).symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in refused(signed, keys[1])


def test_no_file_of_the_bundle_may_take_the_signatures_name(signed, keys):
    manifest = json.loads((signed / "manifest.json").read_text())
    manifest["files"][SIGNATURE] = manifest["files"]["README.md"]
    (signed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"'signature.json' does not stay"):
        Bundle.open(signed)


def other_kind():
    return rsa.generate_private_key(65537, 2048).public_key()


KEYS = {
    "a private one": lambda private, public: private.read_bytes(),
    "nothing": lambda private, public: b"",
    "another kind": lambda private, public: other_kind().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_what_is_no_public_key_is_an_input_error(signed, keys, tmp_path, make):
    (tmp_path / "key").write_bytes(make(*keys))
    assert "public half of an Ed25519 or elliptic-curve key" in refused(signed, tmp_path / "key", InputError)
    refused(signed, tmp_path / "missing", InputError)


def test_a_pickled_model_asks_for_the_signature_again(signed, keys):
    content = pickle.dumps(aetool.load(signed, provider="cpu", require_signature=keys[1]))
    pickle.loads(content)
    (signed / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="is not signed"):
        pickle.loads(content)


def test_a_damaged_bundle_is_not_signed(signed, keys):
    (signed / "encoder.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="encoder"):
        sign_bundle(signed, keys[0])


def test_the_private_key_is_for_its_owner_alone_and_never_replaced(tmp_path):
    write_keys(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(OutputError, match="never replaced"):
        write_keys(tmp_path / "key")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_keys_of_openssl_will_do(tmp_path):
    private, public = tmp_path / "a.pem", tmp_path / "a.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    shutil.copytree(EXPORTED, tmp_path / "bundle")
    sign_bundle(tmp_path / "bundle", private)
    aetool.load(tmp_path / "bundle", require_signature=public)


def test_on_the_command_line(tmp_path):
    shutil.copytree(EXPORTED, tmp_path / "bundle")

    def run(*words):
        return CliRunner().invoke(main, [*map(str, words), "--json"])

    key, bundle = tmp_path / "key.pem", tmp_path / "bundle"
    public = json.loads(run("keygen", "-o", key).stdout)["public_key"]
    assert run("verify", bundle, "--public-key", public).exit_code == 1
    assert json.loads(run("sign", bundle, "--private-key", key).stdout)["signature"].endswith(SIGNATURE)
    verified = json.loads(run("verify", bundle, "--public-key", public).stdout)
    assert verified["signed"] and verified["passed"]
    assert json.loads(run("verify", bundle).stdout)["signed"] is False


def test_without_cryptography_the_extra_is_named_and_the_rest_works():
    script = f"""
import sys
sys.modules["cryptography"] = None
import aetool
aetool.load({str(EXPORTED)!r})
try:
    aetool.load({str(EXPORTED)!r}, require_signature="key")
except aetool.DependencyError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "install aetool with the extra 'sign'" in done.stdout
    assert issubclass(DependencyError, ImportError)
