"""What stands on the disk before, during and after an export."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aetool.bundle.bundle import Bundle
from aetool.errors import InputError, OutputError
from aetool.export import ExportOptions, export_checkpoint
from aetool.export import _checkpoint as checkpoint
from aetool.model import TrainedAutoencoder, save_checkpoint

EXPORT = """
import sys
from aetool.export import ExportOptions, export_checkpoint
print("ready", flush=True)
export_checkpoint(sys.argv[1], sys.argv[2], ExportOptions(overwrite=True))
"""


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_existing_output_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").mkdir()
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda _: pytest.fail("work was done"))
    with pytest.raises(OutputError, match="exists already"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "taken")
    assert list((tmp_path / "taken").iterdir()) == []


def test_overwrite_replaces_the_bundle_whole(trained: TrainedAutoencoder, bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    (path / "foreign").write_text("x")
    export_checkpoint(trained, path, ExportOptions(overwrite=True, threshold=0.5, image=(5, 6)))
    manifest = Bundle.open(path).manifest
    assert manifest.threshold == {"value": 0.5, "method": "given"} and manifest.image == (5, 6)
    assert "foreign" not in content(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_of_another_size_is_refused(trained: TrainedAutoencoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"28x28 is 784 numbers, but a row has 30; give the height"):
        export_checkpoint(trained, tmp_path / "bundle", ExportOptions(image=(28, 28)))
    assert not (tmp_path / "bundle").exists()


def test_manifest_lists_every_file(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.check_files() == len(opened.manifest.files)
    assert set(opened.manifest.files) | {"manifest.json"} == set(content(bundle))


@pytest.mark.parametrize("wait", [0.1, 0.9])
def test_killed_export_blocks_nothing(
    trained: TrainedAutoencoder, bundle: Path, tmp_path: Path, wait: float
) -> None:
    save_checkpoint(trained, tmp_path / "checkpoint")
    path = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    before = content(path)
    arguments = [sys.executable, "-c", EXPORT, str(tmp_path / "checkpoint"), str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.kill()
    after = content(path)
    assert {name: after[name] for name in after if name.endswith(".onnx")} == {
        name: before[name] for name in before if name.endswith(".onnx")
    }
    Bundle.open(path).check_files()  # the old one or the new one, never a half
    export_checkpoint(trained, path, ExportOptions(overwrite=True))
    Bundle.open(path).check_files()


def test_two_exports_are_the_same_bytes(
    trained: TrainedAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    save_checkpoint(trained, tmp_path / "checkpoint")
    export_checkpoint(trained, tmp_path / "first" / "bundle")
    # In another process: other hash seed, other object addresses.
    arguments = [sys.executable, "-c", EXPORT, str(tmp_path / "checkpoint"), str(tmp_path / "second" / "bundle")]
    subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    first, second = content(tmp_path / "first" / "bundle"), content(tmp_path / "second" / "bundle")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert b"2023-11-14T22:13:20Z" in first["manifest.json"]


def test_archive_of_golden_rows_holds_no_clock(bundle: Path) -> None:
    with zipfile.ZipFile(bundle / "golden.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("epoch", ["yesterday", "9" * 30, "1e9", "-"])
def test_wrong_source_date_is_refused(
    trained: TrainedAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH: expected seconds since 1970"):
        export_checkpoint(trained, tmp_path / "bundle")


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", "\ud800"])
def test_name_that_is_no_line_is_refused(trained: TrainedAutoencoder, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name: expected one line of printable characters"):
        export_checkpoint(trained, tmp_path / "bundle", ExportOptions(name=name))


def test_identity_follows_what_decides_the_outputs(
    trained: TrainedAutoencoder, bundle: Path, tmp_path: Path
) -> None:
    def identity(**options: Any) -> str:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        return export_checkpoint(trained, path, ExportOptions(**options)).bundle.manifest.id

    assert identity(name="another") == Bundle.open(bundle).manifest.id
    assert identity(threshold=0.25) != Bundle.open(bundle).manifest.id


def test_threshold_of_the_manifest_is_the_graphs(trained: TrainedAutoencoder, tmp_path: Path) -> None:
    exported = export_checkpoint(trained, tmp_path / "b", ExportOptions(contamination=0.25))
    rule = exported.bundle.manifest.threshold
    scores = trained.held_out.scores
    assert abs(rule["flagged_share"] - 0.25) <= 1 / len(scores)
    assert np.mean(scores > rule["value"]) == rule["flagged_share"]
    assert exported.bundle.manifest.variants["fp32"].threshold == rule["value"]
