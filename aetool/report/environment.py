"""Where it was measured, and the command that measures it again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from aetool.bench.result import BenchResult, GraphFile
from aetool.report.markup import Markup, joined, tag
from aetool.report.units import counted, size


def section(result: BenchResult) -> Markup:
    """Machine, bundle, parameters, packages, command."""
    machine, bundle = result.machine, result.bundle
    quota = "" if machine.quota_cores is None else f", {machine.quota_cores:g} allowed by the container"
    peaks = ", ".join(f"{peak:,.0f} GFLOP/s ({threads})" for threads, peak in result.ceiling.matmul_gflops.items())
    facts = {
        "processor": f"{machine.cpu}, {counted(machine.cores, 'core')}{quota}",
        "memory": size(machine.memory_bytes),
        "matrix-product peak (threads)": peaks or "not measured",
        "memory copy": f"{result.ceiling.copy_gb_per_s:.3g} GB/s",
        "system": machine.system,
        "Python": machine.python,
        "packages": ", ".join(f"{name} {version}" for name, version in machine.packages.items()),
        "commit": machine.commit,
        "bundle": f"{bundle.name} ({bundle.id})",
        "features and embedding": f"{bundle.features:,} and {bundle.embedding or 'none'}",
        **{f"graph {name}": _file(file) for name, file in bundle.files.items()},
        **{name.replace("_", " "): _text(value) for name, value in result.parameters.items()},
        "measured": result.created,
    }
    return repeated(result.command, facts, machine.cpu_flags)


def repeated(command: Sequence[str], facts: Mapping[str, str], cpu_flags: Sequence[str]) -> Markup:
    """The command, and under what it was run: name -> value."""
    pairs = (joined([tag("dt", name), tag("dd", value)]) for name, value in facts.items())
    flags = " ".join(cpu_flags)
    return joined(
        [
            tag("p", "To repeat it:"),
            tag("pre", tag("code", shlex.join(command)), tabindex="0"),
            tag("dl", *pairs),
            tag("details", tag("summary", "Flags of the processor"), tag("p", flags, class_="flags"))
            if flags
            else None,
        ]
    )


def _file(file: GraphFile) -> str:
    work = file.multiply_adds_per_row
    told = "" if work is None else f", {work:,} multiply-adds a row"
    return f"{size(file.bytes)}{told}, sha256 {file.sha256}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
