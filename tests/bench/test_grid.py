"""A grid of measurements: what is refused before anything runs, and a whole one on a real bundle."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from measuring import EXPORTED, SUBJECTS

from aetool.bench import _machine as machine
from aetool.bench import rounds as turns
from aetool.bench import run
from aetool.bench.contestants import Contestant
from aetool.bench.grid import Grid, Setting, plan
from aetool.bench.result import Ceiling, document_of, read_result, write_document
from aetool.bundle.bundle import Bundle
from aetool.bundle.write import publish
from aetool.choices import SCENARIOS
from aetool.errors import BenchmarkError, BundleError, DependencyError, InputError
from aetool.export import export_module
from aetool.runtime import machine as cores

QUICK = Grid(rounds=2, seconds=0.02, offline_rows=2048, batches=(1, 8))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"graphs": ("decode",)}, "graph 'decode' is unknown; choose encode, reconstruct, score"),
        ({"scenarios": ("online",)}, "scenario 'online'"),
        ({"peers": ("tflite",)}, "peer 'tflite'"),
        ({"providers": ("tpu",)}, "provider 'tpu'"),
        ({"batches": (1, 0)}, "batch: 1 or more expected, found 0"),
        ({"batches": ()}, "batches: one or more"),
        ({"threads": (-1,)}, "threads: 1 or more"),
        ({"rounds": 0}, "rounds: 1 or more"),
        ({"rounds": 2, "launches": 3}, "launches: at most one a round"),
        ({"seconds": 0.0}, "seconds: a number above 0"),
        ({"arrivals_per_s": float("nan")}, "arrivals a second: a number above 0"),
        ({"peers": ("torch",)}, "--against CHECKPOINT"),
    ],
)
def test_a_wrong_grid_is_refused(wrong, named):
    with pytest.raises(InputError, match=named):
        Grid(**wrong)


@pytest.mark.parametrize(
    ("peer", "package", "extra"), [("openvino", "openvino", "peers"), ("torch", "torch", "train")]
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, peer, package, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(DependencyError, match=f"the peer {peer} needs {package}.*the extra '{extra}'"):
        Grid(peers=(peer,), against=EXPORTED)


def test_a_precision_that_is_not_there_is_refused_before_anything_runs():
    with pytest.raises(BundleError, match="no precision 'int8'"):
        plan(EXPORTED, Grid(precisions=("int8",)))


@pytest.mark.parametrize(("rounds", "launches"), [(6, 2), (5, 2), (7, 3), (3, 3), (1, 1)])
def test_every_round_is_in_one_launch(rounds, launches):
    grid = Grid(rounds=rounds, launches=launches)
    every = [grid.rounds_of(launch) for launch in range(launches)]
    assert [number for numbers in every for number in numbers] == list(range(rounds)) and all(every)


def test_every_combination_is_planned():
    settled = plan(EXPORTED, replace(QUICK, graphs=("score",), threads=(1, 2), scenarios=("server", "offline")))
    assert [setting.threads for setting in settled.settings] == [1, 2]
    assert list(settled.grid.loads()) == [("server", 1), ("server", 8), ("offline", 2048)]
    assert settled.turns == 2 * 3 * 2 * 2


@pytest.mark.parametrize(("ours", "theirs"), [("cpu", "cpu"), ("cuda", "cuda"), ("openvino", "cpu")])
def test_peers_run_where_aetool_does_if_they_can(ours, theirs):
    bundle = Bundle.open(EXPORTED)
    setting = Setting("score", "auto", "fp32", 2)
    raw = setting.peer("raw-onnxruntime", bundle, ours, None)
    assert raw.arguments["provider"] == theirs and raw.arguments["threads"] == 2
    assert raw.arguments["file"] == str(EXPORTED / "detector.onnx")
    compiled = setting.peer("torch-compile", bundle, ours, EXPORTED)
    assert (compiled.factory, compiled.arguments["device"]) == ("aetool.bench._torch_contestant:compiled", theirs)


@pytest.fixture
def no_ceiling(monkeypatch):
    monkeypatch.setattr(turns, "WARM_SECONDS", 0.01)
    monkeypatch.setattr(run, "ceiling", lambda: Ceiling({"1": 50.0, "2": 100.0}, 20.0))


def test_a_grid_on_a_real_bundle(no_ceiling, tmp_path):
    steps = []
    settled = plan(EXPORTED, replace(QUICK, graphs=("score",), scenarios=SCENARIOS, batches=(4,), profile=True))
    found = run.run(settled, command=("aetool", "bench"), progress=lambda text, turns: steps.append(turns))
    assert sum(steps) == settled.turns
    cells = {(one.scenario, one.batch) for one in found.results}
    assert cells == {("single-stream", 4), ("multi-stream", 4), ("server", 4), ("offline", 2048)}
    assert len(found.results) == 2 * len(found.ratios) == 8
    assert {record.contestant for record in found.agreement} == {"aetool", "raw-onnxruntime"}
    assert all("compared with PyTorch in float64" in record.rows for record in found.agreement)
    for one in found.results:
        assert len(one.rounds) == 2 and one.samples == sum(one.histogram.counts) >= 6
        assert (one.provider, one.precision, one.threads) == ("cpu", "fp32", None)
        assert one.share_of_peak > 0 and one.first_run_s > 0 and one.session_creation_s > 0
        assert one.peak_memory_bytes > 1 << 20 and one.warm_up_samples > 0
        assert (one.arrivals_per_s is None) == (one.scenario != "server")
        assert (one.profile is None) == (one.contestant != "aetool")
        assert list(one.placement) == ["CPUExecutionProvider"] and one.placement["CPUExecutionProvider"] > 0
        assert one.latency_s.p99_9 is None or one.samples >= 6636
    (record,) = found.bundle.files.values()
    size = sum(node.us for node in found.results[0].profile)
    assert size > 0 and {node.op for node in found.results[0].profile} & {"FusedGemm", "Gemm"}
    assert record.multiply_adds_per_row > 0
    write_document(document_of(found), tmp_path / "r.json")
    assert read_result(tmp_path / "r.json") == found


def test_a_peer_that_computes_something_else_stops_it(no_ceiling, monkeypatch):
    wrong = Contestant("raw-onnxruntime", f"{SUBJECTS}:adds", {"outputs": ["score"]})
    monkeypatch.setattr(Setting, "peer", lambda *_: wrong)
    with pytest.raises(BenchmarkError, match="raw-onnxruntime: score score differs"):
        run.run(plan(EXPORTED, replace(QUICK, graphs=("score",))))


def test_precisions_are_told_apart(no_ceiling, tmp_path):
    bundle = Bundle.open(EXPORTED)
    exact = bundle.variant("fp32")
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    files |= {f"fp16/{name}": files[name] for name in exact.files.values()}
    variant = exact._replace(files={graph: f"fp16/{name}" for graph, name in exact.files.items()})
    variants = {**bundle.manifest.variants, "fp16": variant}
    manifest = bundle.manifest._replace(variants=variants)
    publish(tmp_path / "both", manifest, files)
    grid = replace(
        QUICK, graphs=("encode",), precisions=("fp32", "fp16"), scenarios=("single-stream",), batches=(1,)
    )
    found = run.run(plan(tmp_path / "both", grid))
    assert [(one.contestant, one.precision) for one in found.results] == [
        ("aetool", "fp32"), ("raw-onnxruntime", "fp32"), ("aetool", "fp16"), ("raw-onnxruntime", "fp16"),
    ]  # fmt: skip
    assert set(found.bundle.files) == {"encode", "fp16/encode"}
    assert {(one.precision, one.share_of_peak is None) for one in found.results} == {
        ("fp32", False),
        ("fp16", True),
    }
    assert {one.rows for one in found.agreement if "aetool" in one.rows} == {
        "84 golden rows, compared with aetool"
    }


def test_openvino_computes_and_counts_the_same(no_ceiling):
    pytest.importorskip("openvino")
    grid = replace(QUICK, graphs=("encode",), peers=("openvino",), threads=(1,))
    found = run.run(plan(EXPORTED, grid))
    assert {one.contestant for one in found.results} == {"aetool", "openvino"}
    assert {one.threads for one in found.results} == {1}


def test_categories_are_measured_with(no_ceiling, mixed_bundle):
    grid = replace(QUICK, scenarios=("single-stream",), batches=(4,))
    found = run.run(plan(mixed_bundle, grid))
    assert {one.graph for one in found.results} == {"encode", "reconstruct", "score"}


class Conv(torch.nn.Module):
    """An autoencoder of images that gives no embedding of its own."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.net(images)


def test_images_are_measured_and_their_arithmetic_is_not_guessed(no_ceiling, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 3, 8, 8)).astype(np.float32)
    export_module(Conv(), tmp_path / "images", rows=rows)
    grid = replace(QUICK, scenarios=("single-stream", "multi-stream"), batches=(2,))
    found = run.run(plan(tmp_path / "images", grid))
    assert {one.graph for one in found.results} == {"reconstruct", "score"}
    assert {one.share_of_peak for one in found.results} == {None}
    assert (found.bundle.features, found.bundle.embedding) == (192, None)


def test_given_rows_are_used(no_ceiling):
    rows = np.load(EXPORTED / "golden.npz")["features"][:5]
    grid = replace(QUICK, graphs=("encode",), scenarios=("single-stream",), batches=(1,), peers=())
    found = run.run(plan(EXPORTED, grid), rows=rows, rows_name="rows of x.csv")
    assert found.parameters["rows"].startswith("5 rows of x.csv, drawn again")
    assert found.ratios == ()


def test_the_ceiling_is_measured(monkeypatch):
    monkeypatch.setattr(machine, "SIZE", 128)
    monkeypatch.setattr(machine, "COPY_BYTES", 1 << 20)
    found = machine.ceiling(threads=(1,), seconds=0.02)
    assert list(found.matmul_gflops) == ["1"] and found.matmul_gflops["1"] > 0.1 and found.copy_gb_per_s > 0.1


def test_of_two_ceilings_the_higher_stands():
    found = Ceiling({"1": 50.0, "2": 90.0}, 20.0).or_better(Ceiling({"1": 40.0, "2": 100.0}, 21.0))
    assert found == Ceiling({"1": 50.0, "2": 100.0}, 21.0)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({}, None),
    ],
)
def test_a_containers_quota_is_in_the_record(tmp_path, monkeypatch, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text("0::/\n" if "cpu.max" in files else "1:cpu:/\n")
    monkeypatch.setattr(cores, "CGROUPS", str(tmp_path))
    monkeypatch.setattr(cores, "OWN_CGROUP", str(tmp_path / "own"))
    found = machine.machine()
    assert found.quota_cores == quota
    assert found.cores == len(found.affinity) and found.packages["numpy"] == np.__version__
