"""A whole grid run on a bundle: from the plan to the result."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench.ceiling import ceiling
from aetool.bench.cell import Cell, cells_of
from aetool.bench.grid import OURS, RAW, Plan, Setting
from aetool.bench.inspection import placement, profile
from aetool.bench.launch import Progress, launch
from aetool.bench.machine import machine
from aetool.bench.operations import multiply_adds_per_row
from aetool.bench.peers import GRAPH
from aetool.bench.records import from_plain, to_plain
from aetool.bench.result import (
    Agreement,
    BenchResult,
    BundleRecord,
    Ceiling,
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
    before = ceiling()
    agreement: list[Agreement] = []
    results: dict[Any, Measured] = {}
    ratios: list[RatioRecord] = []
    for setting in plan.settings:
        arrivals: dict[int, float] = {}
        launches = [
            launch(plan, setting, number, golden=golden, pool=pool, arrivals=arrivals, progress=progress)
            for number in range(plan.grid.launches)
        ]
        agreement += launches[0].agreement
        cells = cells_of(setting, launches)
        ratios += [ratio for cell in cells for ratio in cell.ratios]
        for measured in _inspected(cells, plan, setting, pool):
            results.setdefault(measured.key, measured)  # a peer of two settings: its first figures stand
    progress("what this machine can do at most", 0)
    limits = before.or_better(ceiling())
    bundle = _described(plan)
    return BenchResult(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=tuple(command),
        machine=from_plain(MachineRecord, to_plain(machine()), "this machine"),
        ceiling=limits,
        bundle=bundle,
        parameters={**_parameters(plan), "rows": pool.source},
        agreement=tuple(agreement),
        results=tuple(_with_share(measured, bundle, limits) for measured in results.values()),
        ratios=tuple(ratios),
    )


def _inspected(cells: Sequence[Cell], plan: Plan, setting: Setting, pool: Pool) -> Iterator[Measured]:
    """With what onnxruntime tells of the graph file, asked in processes of their own when all is measured."""
    provider = cells[0].results[0].provider
    recorded = placement(plan, setting, provider)
    batches = {cell.results[0].batch for cell in cells} if plan.grid.profile else ()
    nodes = {batch: profile(plan, setting, provider, batch, pool) for batch in batches}
    for cell in cells:
        for measured in cell.results:
            if measured.contestant == OURS:
                measured = replace(measured, profile=nodes.get(measured.batch))  # noqa: PLW2901
            on_file = measured.contestant in (OURS, RAW) and measured.provider == provider
            yield replace(measured, placement=recorded) if on_file and measured.placement is None else measured


def _with_share(measured: Measured, bundle: BundleRecord, limits: Ceiling) -> Measured:
    """With the share of the machine's peak that its arithmetic takes."""
    if (measured.provider, measured.precision) != ("cpu", "fp32"):
        return measured
    operations = bundle.files[measured.graph].multiply_adds_per_row if measured.graph in bundle.files else None
    if operations is None:
        return measured
    flops = 2 * operations * measured.throughput_rows_per_s
    return replace(measured, share_of_peak=flops / max(limits.matmul_gflops.values()) / 1e9)


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
