"""C in integers: the bits of numpy, decisions of its own, room that is there or not; one hash everywhere."""

import json
import re
import subprocess

import chips
import hosts
import numpy as np
import pytest

from aetool.checks.fidelity import Budget
from aetool.core import reference
from aetool.core.int8 import to_integers
from aetool.core.program import Operation, Output, Step
from aetool.deploy._int8_c import golden_rows, network_of
from aetool.deploy.c import COptions, c
from aetool.errors import BudgetError

ANY = Budget(max_flips=1.0, max_auroc_drop=1.0)


def run(folder, compiler, *flags):
    hosts.run(
        compiler, *chips.STRICT, *flags, "-o", "check", "check.c", *hosts.c_sources(folder), "-lm", cwd=folder
    )
    return subprocess.run([folder / "check"], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(cancer_bundle, write):
    return write(c(cancer_bundle, ("encoder", "decoder", "detector", "explainer"), COptions(int8=True)))


def test_both_compilers_give_the_bits_of_numpy_on_golden_rows_and_on_nan_and_infinity(folder, need):
    need("generated C")
    need("clang")
    found = [run(folder, *build) for build in (("gcc", "-O2"), ("clang", "-O3"), ("gcc", "-O0"))]
    assert all(done.returncode == 0 and "largest difference 0.0e+00" in done.stdout for done in found)
    assert len({done.stdout for done in found}) == 1


def test_categories_and_missing_values_come_out_of_integers_as_of_numpy(mixed_bundle, write, need):
    from aetool.bundle.bundle import Bundle

    need("generated C")
    done = run(write(c(Bundle.open(mixed_bundle), ("detector",), COptions(int8=True, budget=ANY))), "gcc", "-O1")
    assert done.returncode == 0 and "largest difference 0.0e+00" in done.stdout, done.stdout


def test_a_changed_weight_is_found_by_the_check(cancer_bundle, write, need):
    need("generated C")
    folder = write(c(cancer_bundle, ("detector",), COptions(int8=True)))
    source = folder / "aetool_breast_cancer_detector.c"
    text = source.read_text(encoding="utf-8")
    first = re.search(r"_integers\[\d+\] = \{\n    (-?\d+)|_bytes\[\d+\] = \{\n    (-?\d+)", text)
    number = first[1] or first[2]
    at = first.end() - len(number)
    source.write_text(text[:at] + str(-int(number) or 99) + text[at + len(number) :], encoding="utf-8")
    assert run(folder, "gcc", "-O1").returncode == 1


def test_no_float_is_left_in_the_layers(cancer_bundle):
    network = network_of(cancer_bundle, "detector")
    made = to_integers(network.results, network.steps, golden_rows(cancer_bundle).calibration)
    kinds = [step.operation for step in made.steps]
    assert Operation.DENSE not in kinds and Operation.LEAKY_RELU not in kinds
    assert [kind for kind in kinds if kind >= Operation.QUANTIZE] == [
        Operation.QUANTIZE, Operation.DENSE_INT8, Operation.DENSE_INT8_LAST,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "alpha"),
    [
        (Operation.RELU, 0),
        (Operation.LEAKY_RELU, 0.01),
        (Operation.TANH, 0),
        (Operation.GELU, 0),
        (Operation.ELU, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Operation) else "",
)
def test_layers_of_any_activation_are_near_those_in_float(operation, alpha):
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 9)).astype(np.float32) * np.logspace(-3, 4, 9, dtype=np.float32)
    scale = np.logspace(3, -4, 9)[:, None]  # columns of very different size, as a scaler folded in leaves them
    sizes = [(9, 24), (24, 17), (17, 9)]
    weights = [random.normal(size=size).astype(np.float32) / np.sqrt(size[0]).astype(np.float32) for size in sizes]
    weights[0] = (weights[0] * scale).astype(np.float32)
    biases = [random.normal(size=size[1]).astype(np.float32) / 4 for size in sizes]
    steps, last = [], None
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        steps.append(Step(Operation.DENSE, [last, bias], *weight.shape, weights=weight))
        if number < 2:
            steps.append(Step(operation, [steps[-1]], weight.shape[1], alpha=alpha))
        last = steps[-1]
    results = {Output("y", (9,), False): last}
    made = to_integers(results, steps, rows[:200])
    exact = reference.run(steps, rows[200:])[id(last)]
    found = reference.run(made.steps, rows[200:])[id(next(iter(made.results.values())))]
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.998


def test_rows_of_a_table_calibrate_and_judge(cancer_bundle, cancer):
    made = c(cancer_bundle, (), COptions(int8=True, rows=cancer.values, labels=cancer.labels))
    figures = made.figures["int8"]
    assert figures["judged"] > 200 and abs(figures["auroc"] - figures["auroc_fp32"]) <= 0.002
    assert figures["flipped"] <= 0.005 * figures["judged"]
    assert figures["threshold"] != cancer_bundle.manifest.variants["fp32"].threshold
    header = made.files["aetool_breast_cancer.h"].decode()
    assert float(re.search(r"_THRESHOLD (\S+)f\n", header)[1]) == pytest.approx(figures["threshold"], rel=1e-6)


def test_decisions_that_change_too_much_are_refused_with_what_was_tried(cancer_bundle, monkeypatch):
    monkeypatch.setattr("aetool.deploy._int8_c.ROOMS", (0.02, 0.05))  # nearly everything is cut off
    with pytest.raises(
        BudgetError, match=r"int8: flips .* above 0\.50%, on the golden rows; give --data"
    ) as refused:
        c(cancer_bundle, (), COptions(int8=True))
    assert len(refused.value.tried) == 2


@pytest.mark.parametrize(("option", "told"), [("flash", "of flash"), ("ram", "of ram")])
def test_what_does_not_fit_is_refused_with_what_it_needs(cancer_bundle, option, told):
    with pytest.raises(BudgetError, match=rf"needs [\d,]+ bytes {told}, [\d,]+ more than --{option} 500"):
        c(cancer_bundle, (), COptions(int8=True, **{option: 500}))
    assert c(cancer_bundle, (), COptions(int8=True, **{option: 1_000_000})).files


def test_the_measured_result_is_one_hash_on_every_processor_and_within_what_is_told():
    result = json.loads((hosts.ROOT / "benchmarks" / "results" / "chips.json").read_text(encoding="utf-8"))
    assert set(result["results"]) == {f"{name} {kind}" for name in chips.BUNDLES for kind in ("fp32", "int8")}
    for name, found in result["results"].items():
        hosts_of = {*chips.TARGETS, *([chips.CHROMIUM] if name.endswith("fp32") else [])}
        assert set(found["sha256"]) == hosts_of and len(set(found["sha256"].values())) == 1
    for board in result["results"]["tiny int8"]["boards"].values():
        assert board["flash"] <= 300_000 and board["stack"] + board["static_ram"] <= 8192


@pytest.fixture(scope="module")
def small(cancer_bundle, write, tmp_path_factory, need):
    """The C of one graph, and its hash on this processor."""
    need("generated C")
    folder = write(c(cancer_bundle, ("detector",), COptions(int8=True)))
    return folder, chips.checked(folder, chips.TARGETS["x86-64, SSE2, gcc"], tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("title", [title for title in chips.TARGETS if chips.TARGETS[title].how == "emulated"])
def test_another_processor_gives_the_same_bits(small, tmp_path, title):
    folder, expected = small
    if absent := chips.TARGETS[title].missing():
        pytest.skip(f"{title} is not emulated: {absent}")
    assert chips.checked(folder, chips.TARGETS[title], tmp_path) == expected
