"""Signatures of OpenSSF Model Signing: made and checked here, and by the reference of that format."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import aetool
from aetool import BundleError, InputError
from aetool.bundle.bundle import Bundle
from aetool.bundle.keys import write_keys
from aetool.bundle.write import sign_bundle
from aetool.checks.verify import verify_bundle
from aetool.cli import main
from aetool.release import push

ROOT = Path(__file__).parents[2]
EXPORTED = ROOT / "exported" / "breast-cancer"
STANDARDS = Path(os.environ.get("AETOOL_STANDARDS", ROOT / ".hosts" / "standards"))
"""Environment of `model-signing`, whose protobuf is newer than others allow."""
reference = pytest.mark.skipif(
    not (STANDARDS / "bin" / "model_signing").exists(),
    reason="model-signing is not installed: make .hosts/.installed",
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Private and public, of the curve P-256."""
    private = tmp_path_factory.mktemp("keys") / "mine.pem"
    return private, write_keys(private, "p256")


@pytest.fixture
def signed(tmp_path, keys):
    path = Path(shutil.copytree(EXPORTED, tmp_path / "bundle"))
    assert sign_bundle(path, keys[0]).name == "model.sig"
    return path


def refused(path, key):
    with pytest.raises(BundleError) as caught:
        aetool.load(path, provider="cpu", require_signature=key)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_signed_bundle_loads_with_its_owners_key_and_verifies(signed, keys):
    aetool.load(signed, provider="cpu", require_signature=keys[1]).close()
    assert all(record.passed for record in verify_bundle(signed, public_key=keys[1], provider="cpu"))


def test_both_kinds_of_signature_may_stand_beside_one_another(signed, keys, tmp_path):
    other = write_keys(tmp_path / "other.pem")
    assert sign_bundle(signed, tmp_path / "other.pem").name == "signature.json"
    for key in (keys[1], other):
        Bundle.open_whole(signed, public_key=key)


def test_without_one_the_message_says_so(keys, tmp_path):
    assert "has no model.sig" in refused(EXPORTED, keys[1])
    ed25519 = write_keys(tmp_path / "key.pem")
    assert "is not signed" in refused(EXPORTED, ed25519)


def test_another_key_is_named(signed, tmp_path):
    stranger = write_keys(tmp_path / "stranger.pem", "p256")
    assert "made with the key" in refused(signed, stranger) and str(stranger) in refused(signed, stranger)


def test_a_manifest_changed_after_signing_is_refused(signed, keys):
    text = (signed / "manifest.json").read_text()
    (signed / "manifest.json").write_text(text.replace('"created"', '"made": "", "created"', 1))
    assert "its files are not those that were signed" in refused(signed, keys[1])


def envelope(signed, change):
    content = json.loads((signed / "model.sig").read_text())
    change(content)
    (signed / "model.sig").write_text(json.dumps(content))


def other_digest(content):
    payload = base64.b64decode(content["dsseEnvelope"]["payload"]).replace(b'"digest": "', b'"digest": "0', 1)
    content["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


NONE = {
    "another payload": (other_digest, "is not what was signed"),
    "no signature": (lambda content: content["dsseEnvelope"].update(signatures=[]), "is not a valid signature"),
    "two signatures": (
        lambda content: content["dsseEnvelope"].update(signatures=content["dsseEnvelope"]["signatures"] * 2),
        "is not a valid signature",
    ),
    "no base64": (lambda content: content["dsseEnvelope"].update(payload="!"), "is not a valid signature"),
    "another format": (lambda content: content.update(mediaType="text/plain"), "was expected, found 'text/plain'"),
    "another type": (lambda content: content["dsseEnvelope"].update(payloadType="x"), "was expected"),
    "no envelope": (lambda content: content.pop("dsseEnvelope"), "is not a valid signature"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_signature_of_the_bundle_is_refused(signed, keys, name):
    change, message = NONE[name]
    envelope(signed, change)
    assert message in refused(signed, keys[1])


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 50_000, b" " * (9 << 20)])
def test_nonsense_is_refused(signed, keys, content):
    (signed / "model.sig").write_bytes(content)
    refused(signed, keys[1])


def test_a_channel_needs_a_key_of_the_other_kind(signed, keys, tmp_path):
    with pytest.raises(InputError, match="the private half of an Ed25519 key"):
        push(signed, tmp_path / "store", private_key=keys[0])


def test_on_the_command_line(tmp_path):
    def run(*words):
        return CliRunner().invoke(main, [*map(str, words), "--json"])

    key, bundle = tmp_path / "key.pem", Path(shutil.copytree(EXPORTED, tmp_path / "bundle"))
    assert run("keygen", "--type", "p256", "-o", key).exit_code == 0
    assert json.loads(run("sign", bundle, "--private-key", key).stdout)["signature"].endswith("model.sig")
    assert json.loads(run("verify", bundle, "--public-key", f"{key}.pub").stdout)["signed"]


def by_the_reference(verb, bundle, *options):
    command = [
        STANDARDS / "bin" / "model_signing",
        verb,
        "key",
        bundle,
        "--signature",
        bundle / "model.sig",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@reference
def test_the_reference_accepts_our_signatures_and_refuses_altered_bundles(signed, keys, tmp_path):
    write_keys(tmp_path / "other.pem")
    sign_bundle(signed, tmp_path / "other.pem")  # signature.json is no part of what is signed
    code, said = by_the_reference("verify", signed, "--public_key", keys[1])
    assert code == 0, said
    content = bytearray((signed / "detector.onnx").read_bytes())
    content[100] ^= 1
    (signed / "detector.onnx").write_bytes(content)
    code, said = by_the_reference("verify", signed, "--public_key", keys[1])
    assert code != 0 and "detector.onnx" in said
    shutil.copy(EXPORTED / "detector.onnx", signed)
    (signed / "more").write_text("")
    assert by_the_reference("verify", signed, "--public_key", keys[1])[0] != 0


@reference
def test_we_accept_signatures_of_the_reference_and_refuse_altered_bundles(keys, tmp_path):
    bundle = Path(shutil.copytree(EXPORTED, tmp_path / "bundle"))
    code, said = by_the_reference("sign", bundle, "--private_key", keys[0])
    assert code == 0, said
    Bundle.open_whole(bundle, public_key=keys[1])
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text.replace('"created"', '"made": "", "created"', 1))
    assert "its files are not those that were signed" in refused(bundle, keys[1])
