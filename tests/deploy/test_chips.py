"""The generated C on emulated processors: the bits of this one. `make chips` runs more models on more of them."""

import os
from pathlib import Path

import chips
import pytest

HERE = "x86-64, SSE2, gcc"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_processors_give_the_same_bits(cancer_bundle, tmp_path, precision):
    source = chips.deployed(cancer_bundle, precision, tmp_path / "c")
    hashes = {}
    for title in (HERE, "aarch64", "Cortex-M4F"):
        target = chips.TARGETS[title]
        if absent := target.missing():
            if os.environ.get("AETOOL_HOSTS_REQUIRED"):
                pytest.fail(f"{title}: {absent}")
            pytest.skip(f"{title}: {absent}")
        hashes[title] = chips.checked(source, target, tmp_path)
    assert len(set(hashes.values())) == 1, hashes


def test_the_detector_takes_little_flash_and_stack_on_a_microcontroller(cancer_bundle, tmp_path):
    board = chips.TARGETS["Cortex-M4F"]
    if absent := board.missing():
        pytest.skip(absent)
    source = chips.deployed(cancer_bundle, "fp32", tmp_path / "c")
    assert isinstance(board, chips.Board)
    found = chips.needed(source, cancer_bundle, board, "-Os", Path(tmp_path))
    weights, activations = 4 * (30 * 120 + 120 * 30 + 150), 4 * 180
    assert found["flash"] < weights + 8192 and found["stack"] < activations + 256


def test_chromium_gives_the_bits_of_the_c_for_every_output(cancer_bundle, tmp_path, need):
    need("Chromium")
    graphs = ("autoencoder", "detector", "explainer")
    source = chips.deployed(cancer_bundle, "fp32", tmp_path / "c", graphs)
    expected = chips.checked(source, chips.TARGETS[HERE], tmp_path)
    assert chips.hashed_in_chromium(cancer_bundle, source, graphs) == expected
