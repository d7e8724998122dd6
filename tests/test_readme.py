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


RUN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""Pages whose commands are run: here, and by tests/test_docs_pages.py."""


def commands(text=TEXT):
    """Lines after a `$` in the console blocks."""
    return [line for block in documented.blocks(text, "console") for line in documented.lines(block.content)]


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


def test_every_command_is_shown_on_some_page():
    known = documented.every_command()
    shown = [line.words for path in RUN for line in commands(path.read_text("utf-8")) if line.words[0] == "aetool"]
    names = {" ".join(words[1:3]) for words in shown if " ".join(words[1:3]) in known}
    defaults = {"bench": "bench run", "agent": "agent run"}
    names |= {defaults.get(words[1], words[1]) for words in shown} - {"segment", "release"}
    assert names == set(known) - {"demo"}  # demo is what `make demo` runs


@pytest.mark.parametrize("block", documented.blocks(TEXT, "python"))
def test_every_block_of_python_runs(block, clone, monkeypatch):
    monkeypatch.chdir(clone)
    for path in clone.glob("exported/own"):
        shutil.rmtree(path)
    documented.run_python(block.content, "README.md")


def test_the_other_commands_are_targets_of_the_makefile_and_its_environment():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    others = [line.words for line in commands() if line.words[0] != "aetool"]
    assert ["make", "demo"] in others
    for words in others:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        else:
            assert words == ["source", ".venv-demo/bin/activate"] and "venv .venv-demo\n" in makefile


def test_every_pip_install_names_extras_that_exist_and_one_onnxruntime_at_most():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = TEXT + (ROOT / "docs" / "howto" / "install.md").read_text(encoding="utf-8")
    lists = re.findall(r"pip install \"\.\[([a-z,]+)\]\"|`\[([a-z,]+)\]`", text)
    assert len(lists) >= 10
    for found in lists:
        extras = "".join(found).split(",")
        assert set(extras) <= set(project["optional-dependencies"])
        assert len({"cpu", "gpu", "cuda"} & set(extras)) <= 1


def test_every_link_into_the_repository_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_readme_is_read_in_minutes():
    assert len(TEXT.splitlines()) <= 220


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
