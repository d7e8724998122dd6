"""Errors of the core's functions against float64 are those that docs/core.md states."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "core.md").read_text(encoding="utf-8")
STEP = "61" if os.environ.get("AETOOL_LONG") == "1" else "8191"
"""Every which of all float32: a prime, so that all bits vary."""


def stated() -> dict[str, float]:
    """Return function -> largest error in the page's table."""
    rows = re.findall(
        r"^\| (sigmoid|SiLU|tanh|ELU|GELU|square root)\b.* \| ([\d.]+) \| \S+ \|$", PAGE, re.MULTILINE
    )
    names = {"square root": "sqrt"}
    return {names.get(name, name.lower()): float(error) for name, error in rows}


def measured(folder: Path) -> dict[str, float]:
    compiler = shutil.which("gcc") or shutil.which("cc") or pytest.skip("no C compiler here")
    source = Path(__file__).with_name("units_in_the_last_place.c")
    program = folder / "measure"
    flags = ["-std=gnu99", "-O1", "-ffp-contract=off", "-DAETOOL_PLAIN", f"-I{ROOT / 'aetool' / 'core'}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program), "-lm"], check=True)
    done = subprocess.run([program, STEP], capture_output=True, text=True, check=True)
    return {name: float(error) for name, error, _ in map(str.split, done.stdout.splitlines())}


def test_no_function_is_less_exact_than_the_page_says_nor_by_more_than_4_units(tmp_path):
    page, found = stated(), measured(tmp_path)
    assert page.keys() == found.keys() and len(found) == 6
    assert all(found[name] <= page[name] <= 4 for name in page), found
    assert all(found[name] > page[name] / 2 for name in page), "the page says more than is measured"


def test_the_coefficients_of_the_page_are_those_of_the_code():
    code = (ROOT / "aetool" / "core" / "core.c").read_text(encoding="utf-8")
    polynomial = re.compile(r"\b[pq] = (?:[pq] \* \w+ \+ )?(-?[\d.]+(?:e-?\d+)?)f?;?$", re.MULTILINE)
    found = [float(number) for number in polynomial.findall(PAGE)]
    assert found == [float(number) for number in polynomial.findall(code)] and len(found) == 21
