"""A whole grid run on a bundle: from the plan to the result."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench.ceiling import Ceiling, ceiling
from aetool.bench.cell import Cell, Progress, measure, profile, started
from aetool.bench.grid import OURS, Plan, Setting
from aetool.bench.machine import machine
from aetool.bench.operations import multiply_adds_per_row
from aetool.bench.peers import GRAPH
from aetool.bench.records import from_plain, to_plain
from aetool.bench.result import (
    AgreementRecord,
    BenchResult,
    BundleRecord,
    CeilingRecord,
    GraphFile,
    MachineRecord,
    Measured,
    RatioRecord,
)
from aetool.bench.rows import Pool, make_pool
from aetool.bundle import Bundle
from aetool.selftest import read_golden


def run(
    plan: Plan,
    *,
    rows: NDArray[np.float32] | None = None,
    rows_name: str = "golden rows",
    command: Sequence[str] = (),
    progress: Progress = lambda text, turns: None,
) -> BenchResult:
    """Measure everything in `plan`; seconds to minutes.

    Args:
        rows: real ones, (rows, ...), raw units; by default the bundle's golden rows.
        rows_name: what to call them.
        command: how it was called, for the record.

    Raises:
        InputError: there are no rows, or they do not fit the bundle.
        BenchmarkError: a contestant fails, or computes something else than the others.
        ProviderError: a provider does not work here.
    """
    golden = read_golden(plan.bundle)
    chosen = golden["features"] if rows is None else rows
    pool = make_pool(chosen, plan.bundle.manifest, rows_name, plan.grid.largest_batch, plan.grid.seed)
    progress("what this machine can do at most", 0)
    limits = ceiling()
    agreement: list[AgreementRecord] = []
    results: dict[Any, Measured] = {}
    ratios: list[RatioRecord] = []
    for setting in plan.settings:
        with started(plan, setting, golden, progress) as (everybody, found):
            agreement += [AgreementRecord(**asdict(record)) for record in found]
            for scenario, batch in plan.grid.loads():
                cell = measure(plan, setting, everybody, scenario, batch, pool, progress)
                for measured in _completed(cell, plan, setting, limits, pool):
                    results.setdefault(measured.key, measured)  # a peer of two settings: its first figures stand
                ratios += cell.ratios
    return BenchResult(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=tuple(command),
        machine=from_plain(MachineRecord, to_plain(machine()), "this machine"),
        ceiling=CeilingRecord(limits.matmul_gflops, limits.copy_gb_per_s),
        bundle=_described(plan),
        parameters={**_parameters(plan), "rows": pool.source},
        agreement=tuple(agreement),
        results=tuple(results.values()),
        ratios=tuple(ratios),
    )


def _completed(cell: Cell, plan: Plan, setting: Setting, limits: Ceiling, pool: Pool) -> list[Measured]:
    """With what the graph file tells: its arithmetic, and its nodes' times."""
    operations = multiply_adds_per_row(setting.file(plan.bundle).read_bytes())
    peak = max(limits.matmul_gflops.values()) * 1e9
    completed = []
    for measured in cell.results:
        if operations is not None and (measured.provider, measured.precision) == ("cpu", "fp32"):
            share = 2 * operations * measured.throughput_rows_per_s / peak
            measured = replace(measured, share_of_peak=share)  # noqa: PLW2901
        if plan.grid.profile and measured.contestant == OURS:
            nodes = profile(plan, setting, measured.provider, measured.batch, pool)
            measured = replace(measured, profile=nodes)  # noqa: PLW2901
        completed.append(measured)
    return completed


def _described(plan: Plan) -> BundleRecord:
    manifest = plan.bundle.manifest
    return BundleRecord(
        name=manifest.name,
        id=manifest.id,
        features=int(np.prod(manifest.input_shape)),
        embedding=manifest.embedding_dim or None,
        files={_name(setting): _file(plan.bundle, setting) for setting in plan.settings},
    )


def _name(setting: Setting) -> str:
    return setting.graph if setting.precision == "fp32" else f"{setting.precision}/{setting.graph}"


def _file(bundle: Bundle, setting: Setting) -> GraphFile:
    name = bundle.variant(setting.precision).files[GRAPH[setting.graph]]
    record = bundle.manifest.files[name]
    return GraphFile(record.sha256, record.size, multiply_adds_per_row(bundle.read(name)))


def _parameters(plan: Plan) -> dict[str, Any]:
    parameters = to_plain(plan.grid)
    return {**parameters, "against": plan.grid.against and str(plan.grid.against)}
