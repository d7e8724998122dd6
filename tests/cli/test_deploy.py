"""`aetool deploy`: what it writes, says and refuses."""

import json
import shutil
from pathlib import Path

import pytest

from aetool.deploy.web import SCRIPT, WASM

BUNDLE = Path(__file__).parents[2] / "exported" / "breast-cancer"
TARGETS = ("web", "node", "c", "mobile", "triton")


@pytest.fixture
def work(work):
    """An empty current directory but for something in place of onnxruntime-web."""
    dist = work / "runtime" / "dist"
    dist.mkdir(parents=True)
    (work / "runtime" / "package.json").write_text('{"version": "0"}', encoding="utf-8")
    for name in (SCRIPT, WASM):
        (dist / name).write_bytes(b"x")
    return work


def options(target):
    return ["--onnxruntime-web", "runtime"] if target == "web" else []


@pytest.mark.parametrize("target", TARGETS)
def test_a_directory_is_written_and_told(aetool, work, target):
    document = json.loads(aetool("deploy", target, BUNDLE, *options(target), "--json").stdout)
    output = work / "deployed" / f"breast-cancer-{target}"
    assert document["output"] == f"deployed/breast-cancer-{target}"
    written = {
        path.relative_to(output).as_posix(): path.stat().st_size for path in output.rglob("*") if path.is_file()
    }
    assert written == document["files"] and sum(written.values()) == document["bytes"]
    assert document["output"] in document["next"]


@pytest.mark.parametrize("target", ["web", "node"])
def test_the_bundle_beside_onnxruntime_is_a_whole_bundle(aetool, work, target):
    engine = ("--engine", "onnxruntime")
    assert aetool("deploy", target, BUNDLE, *options(target), *engine, "-o", "site").exit_code == 0
    verified = json.loads(aetool("verify", "site/model", "--json").stdout)
    assert verified["passed"] is True


def test_a_dry_run_writes_nothing(aetool, work):
    result = aetool("deploy", "node", BUNDLE, "-o", "there", "--dry-run")
    assert result.exit_code == 0 and "not written" in result.stdout
    assert not (work / "there").exists()


def test_what_exists_is_replaced_when_told_only(aetool, fails, work):
    assert aetool("deploy", "node", BUNDLE, "-o", "there").exit_code == 0
    (work / "there" / "README.md").write_text("mine", encoding="utf-8")
    assert "--overwrite" in fails("deploy", "node", BUNDLE, "-o", "there")
    assert (work / "there" / "README.md").read_text(encoding="utf-8") == "mine"
    assert aetool("deploy", "node", BUNDLE, "-o", "there", "--overwrite").exit_code == 0
    assert (work / "there" / "README.md").read_text(encoding="utf-8") != "mine"


def test_another_directory_is_never_replaced(fails, work):
    (work / "photos").mkdir()
    (work / "photos" / "cat.png").write_bytes(b"cat")
    assert "will not be replaced" in fails("deploy", "node", BUNDLE, "-o", "photos", "--overwrite")
    assert (work / "photos" / "cat.png").exists()


def test_one_file_is_a_page(aetool, fails, work):
    given = ["deploy", "web", BUNDLE, *options("web"), "--single-file"]
    assert "ends in .html" in fails(*given, "-o", "page")
    assert aetool(*given).exit_code == 0
    assert (work / "deployed" / "breast-cancer-web.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["node", "--single-file"], "--single-file is for web only"),
        (["c", "--onnxruntime-web", "x"], "--onnxruntime-web is for web only"),
        (["web", "--graph", "encoder"], "--graph is for c only"),
        (["python"], "'python' is not one of"),
    ],
)
def test_options_of_another_target_are_a_wrong_command_line(aetool, work, given, told):
    result = aetool("deploy", given[0], BUNDLE, *given[1:])
    assert result.exit_code == 2 and told in result.stderr


def test_a_damaged_bundle_is_not_deployed(fails, work):
    shutil.copytree(BUNDLE, work / "bundle")
    with (work / "bundle" / "decoder.onnx").open("ab") as stream:
        stream.write(b"x")
    assert "decoder.onnx" in fails("deploy", "node", "bundle", "-o", "there")
    assert not (work / "there").exists()


def test_a_checkpoint_is_told_how_to_become_a_bundle(fails, made, work):
    assert "aetool export" in fails("deploy", "node", made / "checkpoint", "-o", "there")


@pytest.mark.parametrize("target", ["web", "node", "triton", "c"])
def test_some_targets_need_neither_onnx_nor_the_generator_nor_torch(process, work, target):
    code = "import sys; sys.modules |= dict.fromkeys(('torch', 'onnx', 'emx_onnx_cgen', 'pyarrow'))"
    done = process("deploy", target, BUNDLE, *options(target), "-o", "there", code=code, cwd=work)
    assert done.returncode == 0, done.stderr


def test_c_of_what_the_core_lacks_names_the_extra_where_there_is_no_generator(process, work):
    code = (
        "import sys; sys.modules['emx_onnx_cgen'] = None\n"
        "import aetool.deploy.c\naetool.deploy.c.core_program = lambda *_: None"
    )
    done = process("deploy", "c", BUNDLE, code=code, cwd=work)
    assert done.returncode == 1 and "install aetool with the extra 'deploy'" in done.stderr


@pytest.mark.parametrize(
    ("target", "precision", "message"),
    [
        ("c", "bf16", "--precision bf16 is for web and node only"),
        ("web", "int8", "--precision int8 is for c only"),
        ("node", "bf16", "has no precision 'bf16'"),
        ("mobile", "fp32", "--precision fp32 is for c and web and node only"),
    ],
)
def test_a_precision_that_a_target_lacks_is_an_error(aetool, work, target, precision, message):
    result = aetool("deploy", target, BUNDLE, "--precision", precision)
    assert result.exit_code and message in result.stderr
