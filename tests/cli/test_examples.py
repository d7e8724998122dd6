"""The examples of the help texts work when they are pasted where their files lie."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from documented import every_command

SLOW = {
    "tune",
    "quantize",
    "bench run",
    "bench compare",
    "bench serve",
    "report",
    "serve",
    "demo",
    "doctor",
    "watch",
}
"""README and docs run these, on data that are smaller, or until they are told to stop."""
ELSEWHERE = {"deploy", "adopt"}  # npm's network; an ONNX file of somebody else
SERIES = Path(__file__).parents[1] / "watch" / "bundles" / "waves"
MODULE = "export --module"  # a file of somebody's Python


def pasted():
    for name, command in every_command().items():
        for line in re.findall(r"^ +(aetool .+)$", command.help or "", re.MULTILINE):
            if name not in SLOW | ELSEWHERE and MODULE not in line:
                yield line


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The files that the examples name, as their reader has them."""
    folder = tmp_path_factory.mktemp("examples")
    text = (made / "train.csv").read_text(encoding="utf-8").replace("id,", "serial,", 1)
    for name in ("machines", "new", "test"):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    normal = [row for row in text.splitlines(keepends=True) if not row.endswith(",1\n")]
    for name in ("this-week", "normal"):
        (folder / f"{name}.csv").write_text("".join(normal), encoding="utf-8")
    for name in ("checked", "scored"):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    tickets = [f"{row.split(',')[0]},{row.rsplit(',', 1)[1]}" for row in text.splitlines(keepends=True)]
    (folder / "tickets.csv").write_text("".join(tickets), encoding="utf-8")
    (folder / "customers.csv").write_text(text.replace("serial,", "id,", 1), encoding="utf-8")
    (folder / "aetool.toml").write_text('drop = ["serial"]\n')
    shutil.copytree(SERIES, folder / "exported" / "pumps")
    (folder / "log.csv").write_text(_log(), encoding="utf-8")
    shutil.copytree(made / "checkpoint", folder / "checkpoint")
    for name in ("machines", "customers", "v1", "v2"):
        shutil.copytree(made / "bundle", folder / "exported" / name)
    return folder


def _log():
    """Three channels of one machine, with a time under either name that the examples have."""
    waves = np.sin(np.arange(400)[:, None] / [3, 5, 7])
    rows = [",".join([str(second), str(second), "p1", *map(str, wave)]) for second, wave in enumerate(waves)]
    return "\n".join(["t,time,machine,c0,c1,c2", *rows, ""])


@pytest.mark.parametrize("line", pasted())
def test_an_example_works_when_pasted(aetool, folder, monkeypatch, tmp_path, line):
    here = Path(shutil.copytree(folder, tmp_path / "here"))
    monkeypatch.chdir(here)
    words = shlex.split(line)[1:]
    _prepare(aetool, here, words)
    result = aetool(*words)
    assert result.exit_code == 0, result.output


def _prepare(aetool, here, words):
    """What the example before it left, or must not have left."""
    if words[0] in ("train", "export") and "-o" in words:
        shutil.rmtree(here / words[words.index("-o") + 1], ignore_errors=True)
    if words[0] == "init":
        (here / "aetool.toml").unlink()
    if words[0] == "sign":
        assert aetool("keygen", "-o", "signing.pem").exit_code == 0
    if words[0] in ("release", "agent"):
        assert aetool("keygen", "-o", "signing.pem").exit_code == 0
        if words[1] != "push":
            push = ("release", "push", "exported/machines", "models", "--private-key", "signing.pem")
            assert aetool(*push).exit_code == 0
        if words[1] in ("status", "report"):
            assert aetool("agent", "models", "-o", "machines", "--once").exit_code == 0
    if words[0] == "segment" and words[1] != "learn":
        made = aetool("segment", "learn", words[2], "customers.csv", "--clusters", "3")
        assert made.exit_code == 0, made.output
    if words[0] == "segment" and "new.csv" in words:
        shutil.copy(here / "customers.csv", here / "new.csv")
    if words[0] == "evaluate" and "log.csv" in words:
        header, *rows = _log().splitlines()
        states = ["ok" if place < 390 else "fault" for place in range(len(rows))]
        labelled = [f"{header},state", *map(",".join, zip(rows, states, strict=True))]
        (here / "log.csv").write_text("\n".join(labelled), encoding="utf-8")
    if "2025/*.parquet" in words:
        (here / "2025").mkdir()
        pyarrow.parquet.write_table(pyarrow.csv.read_csv("new.csv"), "2025/january.parquet")
