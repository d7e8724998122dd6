"""README.md is true: what it shows runs, in order, beside copies of exported/ and examples/."""

import contextlib
import re
import shutil
import tomllib

import documented
import pytest

from aetool.cli import main

ROOT = documented.ROOT
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """Lines after a `$` in the console blocks."""
    return [line for block in documented.blocks(TEXT, "console") for line in documented.lines(block.content)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return documented.clone(tmp_path_factory.mktemp("clone"))


def test_every_aetool_command_runs_in_order(clone, monkeypatch):
    monkeypatch.chdir(clone)
    ran = [line for line in commands() if line.words[0] == "aetool"]
    with contextlib.ExitStack() as background:
        reader = documented.Reader(background)
        for line in ran:
            reader.types(line)
    known = documented.every_command()
    names = {" ".join(line.words[1:3]) for line in ran if " ".join(line.words[1:3]) in known}
    names |= {line.words[1].replace("bench", "bench run") for line in ran} - {"segment"}
    assert names == set(known) - {"demo"}  # demo is what `make demo` runs


@pytest.mark.parametrize("block", documented.blocks(TEXT, "python"))
def test_every_block_of_python_runs(block, clone, monkeypatch):
    monkeypatch.chdir(clone)
    for path in clone.glob("exported/from-python"):
        shutil.rmtree(path)
    documented.run_python(block.content, "README.md")


def test_the_other_commands_are_targets_of_the_makefile_and_its_environment():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    others = [line.words for line in commands() if line.words[0] != "aetool"]
    assert ["make", "demo"] in others and ["make", "test"] in others
    for words in others:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        else:
            assert words == ["source", ".venv-demo/bin/activate"] and "venv .venv-demo\n" in makefile


def test_every_pip_install_names_extras_that_exist_and_one_onnxruntime_at_most():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = re.findall(r"pip install \"\.\[([a-z,]+)\]\"|`\[([a-z,]+)\]`", TEXT)
    assert len(lists) >= 5
    for found in lists:
        extras = "".join(found).split(",")
        assert set(extras) <= set(project["optional-dependencies"])
        assert len({"cpu", "gpu", "cuda"} & set(extras)) <= 1


def test_every_link_into_the_repository_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_every_command_that_prose_names_exists():
    named = set(re.findall(r"`aetool ([a-z]+)", TEXT))
    assert named <= set(main.commands)


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_table_renders(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, rule, *rows = [re.sub(r"`[^`]*`|\\\|", "", line).strip() for line in table.splitlines()] + [""]
        assert re.fullmatch(r"\|(?: ?:?-+:? ?\|)+", rule), f"rows without a head above them:\n{table}"
        assert {row.count("|") for row in (head, *rows[:-1])} == {rule.count("|")}, table


def test_nothing_is_said_to_be_installed_from_an_index_where_aetool_is_not():
    told = [*(ROOT / "aetool").rglob("*.py"), *(ROOT / "examples").rglob("*.*"), *PAGES]
    found = [path for path in told if path.suffix in (".py", ".md") and "aetool[" in path.read_text("utf-8")]
    assert found == []
