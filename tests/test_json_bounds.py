"""JSON from anywhere: its size and depth are bounded, and what is wrong with it is one line."""

import json
import shutil

import pytest
from click.testing import CliRunner

from aetool import BundleError, Limits, load
from aetool.bundle.baseline import read_baseline
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import sha256
from aetool.bundle.schema import MAX_DEPTH, loads, read_json
from aetool.cli import main
from aetool.errors import CheckpointError

BAD = {
    "nested lists": "[" * 200_000,
    "nested objects": '{"a":' * 200_000,
    "whole, and deeper than is written again": "[" * 900 + "]" * 900,
    "a key twice": '{"a": 1, "a": 2}',
    "no number": '{"a": NaN}',
    "infinite": '{"a": 1e999}',
    "half a surrogate pair": '{"a": "\\ud800"}',
    "cut short": '{"a": ',
    "a very long integer": '{"a": ' + "9" * 100_000 + "}",
    "nothing": "",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_wrong_is_a_value_error(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    for call in (lambda: loads(text), lambda: loads(text.encode()), lambda: read_json(tmp_path / "a.json")):
        with pytest.raises(ValueError):
            call()


def test_what_is_right_is_read(tmp_path):
    deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    (tmp_path / "a.json").write_text(json.dumps(deep))
    assert read_json(tmp_path / "a.json") == loads(json.dumps(deep)) == deep
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_json(tmp_path / "a.json", 10)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_every_json_that_a_command_reads_is_refused_in_one_line(text, tmp_path, bundle, trained):
    from aetool.model import load_checkpoint, save_checkpoint

    (tmp_path / "bad.json").write_text(text)
    save_checkpoint(trained, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "checkpoint.json").write_text(text)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "checkpoint")
    for arguments, code in (
        (["report", tmp_path / "bad.json"], 1),
        (["adopt", bundle / "autoencoder.onnx", "--data", "x.csv", "--mean", tmp_path / "bad.json"], 2),
    ):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        error, *rest = (line for line in result.stderr.splitlines() if not line.startswith("See "))
        assert error.startswith("Error: ") and "bad.json" in error and not rest


def test_the_baseline_of_a_bundle_is_bounded(bundle, tmp_path):
    path = shutil.copytree(bundle, tmp_path / "bundle")
    manifest = json.loads((path / "manifest.json").read_text())
    limits = Limits(json_bytes=manifest["files"]["baseline.json"]["size"] - 1)
    with pytest.raises(BundleError, match=r"baseline\.json: .*--limit json_bytes=NUMBER"):
        read_baseline(Bundle.open(path, limits=limits))
    content = b"[" * 200_000
    (path / "baseline.json").write_bytes(content)
    manifest["files"]["baseline.json"] = {"sha256": sha256(content), "size": len(content)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="not valid JSON"):
        read_baseline(Bundle.open(path))
    load(path).close()  # which does not need it
