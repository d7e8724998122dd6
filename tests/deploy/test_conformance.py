"""Every host computes what PyTorch in float64 computed; docs/conformance.md says what was measured."""

import functools
import json
import os
import runpy
import shutil
from pathlib import Path

import conformance
import hosts
import numpy as np
import pytest

from aetool.bundle.golden import read_golden
from aetool.checks.parity import SCALED_TOLERANCE
from aetool.deploy.web import web_page
from aetool.quantize import QuantizeOptions, quantize

ROOT = Path(__file__).parents[2]
PAGE = runpy.run_path(str(ROOT / "docs" / "conformance.py"))
RESULT = json.loads(PAGE["RESULT"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """bundles(name): made when it is first asked for."""
    folder = tmp_path_factory.mktemp("conformance")
    return functools.cache(lambda name: conformance.make(name, folder))


def test_the_page_is_what_was_measured():
    assert PAGE["PAGE"].read_text(encoding="utf-8") == PAGE["page"](RESULT), "run: python docs/conformance.py"


def test_what_was_measured_is_every_host_on_every_bundle_and_all_of_it_passed():
    found = RESULT["results"]["hosts"]
    assert set(found) == set(conformance.BUNDLES)
    for measured in found.values():
        assert list(measured) == list(hosts.HOSTS)
        for result in measured.values():
            assert result["passed"] and result["flipped"] == 0 and result["rows"] >= 60
            assert result["max_scaled_difference"] <= SCALED_TOLERANCE


@pytest.mark.parametrize("host", hosts.HOSTS)
@pytest.mark.parametrize(
    "name", ["reference", "categories", *(["tiny"] if os.environ.get("AETOOL_LONG") == "1" else [])]
)
def test_a_host_computes_what_was_trained(name, host, bundles, need):
    need(host)
    found = conformance.compare(bundles(name), host)
    assert found["flipped"] == 0
    assert found["max_scaled_difference"] <= SCALED_TOLERANCE
    assert found["passed"] and found["anomalies"] > 0 and found["outputs"] >= 4


@pytest.mark.parametrize(("precision", "most"), [("fp32", 600_000), ("bf16", 250_000)])
def test_the_page_of_one_file_is_small(precision, most, bundles, tmp_path):
    bundle = bundles("reference")
    if precision == "bf16":
        path = shutil.copytree(bundle.path, tmp_path / "bundle")
        rows = read_golden(bundle)["features"].astype(np.float32)
        bundle = quantize(path, rows, precision="bf16", options=QuantizeOptions(rounds=1, seconds=0.01)).bundle
    assert web_page(bundle, precision=precision).size <= most


def test_a_host_that_is_wrong_by_little_is_found(bundles, monkeypatch):
    bundle = bundles("reference")

    def wrong(bundle):
        right = hosts.onnxruntime_cpu(bundle)
        right["decoder"]["reconstruction"] = right["decoder"]["reconstruction"] * np.float32(1 + 1e-4)
        return right

    monkeypatch.setattr(conformance, "HOSTS", {"wrong": wrong})
    assert not conformance.compare(bundle, "wrong")["passed"]
