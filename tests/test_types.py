"""What a type checker tells an app's author: mypy on a program that uses the runtime."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RIGHT = """
from pathlib import Path
from typing import Any, assert_type
import numpy as np
from numpy.typing import NDArray
import aetool
from aetool.runtime.providers import ProviderName

def use(rows: NDArray[np.float32], table: Any, provider: ProviderName) -> float:
    model = aetool.load(Path("bundle"), provider=provider, limits=aetool.Limits(symbolic_links=True), preload=True)
    assert_type(model.score([0.5, 1.5]), np.float32)
    assert_type(model.score((1, 2.5)), np.float32)
    assert_type(model.score({"age": 41.0, "job": "clerk", "city": None}), np.float32)
    assert_type(model.score(np.zeros(30, np.float32)), np.float32)
    assert_type(model.detect([0.5, 1.5]), np.bool_)
    assert_type(model.segment([0.5, 1.5]), np.int64)
    assert_type(model.score(rows), NDArray[np.float32])
    assert_type(model.score(np.zeros((3, 30))), NDArray[np.float32])
    assert_type(model.score([[0.5, 1.5]]), NDArray[np.float32])
    assert_type(model.score({"age": [41.0, 42.0]}), NDArray[np.float32])
    assert_type(model.detect(rows), NDArray[np.bool_])
    assert_type(model.segment(rows), NDArray[np.int64])
    assert_type(model.score(rows, out=np.empty(len(rows), np.float32)), NDArray[np.float32])
    assert_type(model.encode(rows), NDArray[np.float32])
    model.score(table)
    return float(model.score([0.5, 1.5])) if model.detect([0.5, 1.5]) else model.threshold
"""

WRONG = {
    'aetool.load("bundle", provider="tpu")': 'Argument "provider" to "load"',
    'aetool.AutoencoderSession("bundle", provider="gpu")': 'Argument "provider" to "AutoencoderSession"',
    'len(aetool.load("bundle").score([0.5, 1.5]))': 'Argument 1 to "len"',
    'aetool.load("bundle").detect([[0.5, 1.5]]).thresh': "has no attribute",
    "aetool.Limits(symbolic_links=True, links=True)": 'Unexpected keyword argument "links"',
    'aetool.load("bundle", preload="all")': 'Argument "preload" to "load"',
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What mypy says of the right program and of all wrong ones."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("types")
    (folder / "right.py").write_text(RIGHT)
    for number, line in enumerate(WRONG):
        (folder / f"wrong{number}.py").write_text(f"import aetool\n{line}\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *sorted(map(str, folder.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return checked.stdout.splitlines()


def test_one_row_gives_a_number_and_many_an_array(told):
    assert [line for line in told if "wrong" not in line.split(":")[0]] == []


@pytest.mark.parametrize(("number", "message"), list(enumerate(WRONG.values())), ids=WRONG)
def test_what_fails_at_run_time_fails_in_mypy(told, number, message):
    lines = [line for line in told if f"wrong{number}.py" in line.split(":")[0] and ": error: " in line]
    assert len(lines) == 1 and message in lines[0], told
