"""Links that lie in wait in an output directory: nothing outside of it is deleted or written."""

import json
import shutil

import pytest
from stream_files import write

from aetool.errors import BundleError, OutputError
from aetool.stream import LocalEngine, Task, stream
from aetool.stream._output import MANIFEST


@pytest.fixture
def inputs(rows, as_table, tmp_path):
    """Two files, one of them below a directory."""
    for i, name in enumerate(("a.parquet", "sub/b.csv")):
        write(tmp_path / "in" / name, as_table(rows(50, seed=i)))
    return tmp_path / "in"


@pytest.fixture
def outside(tmp_path):
    """Somebody's files, called as the results will be."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("a.parquet", "b.csv.parquet", "victim"):
        (folder / name).write_text("mine")
    return folder


def untouched(outside):
    return {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("a.parquet", "b.csv.parquet", "victim"), "mine"
    )


def test_overwriting_deletes_nothing_through_a_link(run, inputs, outside, tmp_path):
    out = tmp_path / "out"
    run(inputs, out)
    (out / "sub" / "b.csv.parquet").unlink()
    (out / "sub").rmdir()
    (out / "sub").symlink_to(outside)
    with pytest.raises(OutputError, match=r"sub/b\.csv\.parquet cannot be deleted \('sub' is a symbolic link"):
        run(inputs, out, overwrite=True)
    assert untouched(outside)
    (out / "sub").unlink()  # as the message says
    assert run(inputs, out, overwrite=True).total("rows") == 100


def test_nothing_is_written_through_a_link(run, inputs, outside, tmp_path):
    out = tmp_path / "out"
    run([inputs / "a.parquet"], out)
    (out / "sub").symlink_to(outside)
    with pytest.raises(OutputError, match="'sub' is a symbolic link or a file, which is not followed"):
        run(inputs, out, overwrite=True)
    assert untouched(outside)


@pytest.mark.parametrize("name", [".aetool-manifest.tmp", ".aetool-0123456789abcdef.tmp"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_the_place_of_a_half_written_file_is_not_written_to(
    run, inputs, outside, tmp_path, name, dangling
):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(outside / ("nothing" if dangling else "victim"))
    assert run(inputs, out).total("rows") == 100
    assert untouched(outside)


@pytest.mark.parametrize("planted", ["a.parquet", MANIFEST])
def test_a_link_in_the_place_of_a_result_is_replaced_not_followed(run, inputs, outside, tmp_path, planted):
    out = tmp_path / "out"
    run(inputs, out)
    text = (out / planted).read_bytes()
    (outside / "victim").write_bytes(text)
    (out / planted).unlink()
    (out / planted).symlink_to(outside / "victim")
    assert run(inputs, out, overwrite=True).total("rows") == 100
    assert (outside / "victim").read_bytes() == text and not (out / planted).is_symlink()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "0" * (65 << 20), '{"format": NaN}'])
def test_a_manifest_made_to_break_its_reader_is_one_line(run, inputs, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / MANIFEST).write_text(text)
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError, match=rf"has a {MANIFEST} that cannot be read"):
            run(inputs, out, **options)


def test_a_run_refuses_another_bundle_that_is_published_under_it(run, inputs, bundle, tmp_path):
    """Engines open the bundle by its path, on a cluster again and again."""
    path = shutil.copytree(bundle, tmp_path / "bundle")

    class Late(LocalEngine):
        def run(self, *arguments):
            manifest = json.loads((path / "manifest.json").read_text())
            manifest["variants"]["fp32"]["threshold"] *= 2
            (path / "manifest.json").write_text(json.dumps(manifest))
            return super().run(*arguments)

    with pytest.raises(BundleError, match="was replaced by another bundle since the run began"):
        stream(Task("score", str(path)), [str(inputs)], str(tmp_path / "out"), engine=Late())
