"""A program of the core as C: its steps and constants as arrays, and the function that runs them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool import core
from aetool.bundle.bundle import Bundle
from aetool.core.program import Program, lay_out
from aetool.core.translate import UnsupportedError, steps_of
from aetool.deploy._c_source import Array, CSource
from aetool.deploy._deployment import admitted_model, asset, row_of

STEP = np.dtype(
    [(name, "<i4") for name in ("operation", "out", "a", "b", "c", "n", "m", "offset")] + [("alpha", "<f4")]
)
NARROWEST = 4
_FUNCTIONS = ("run", "run_with", "check", "quantize", "dense_int8", "dense_int8_last", "dequantize")
"""Functions of the core, without what their names begin with."""
_ROWS = "#ifndef AETOOL_ROWS\n#define AETOOL_ROWS 8\n#endif\n"
_CHECKS = "#ifndef AETOOL_RUN\n"
"""What follows checks plans that come from elsewhere."""
CORE = Path(core.__file__).parent


def core_files(name: str, *, integers: bool) -> dict[str, bytes]:
    """Return the core as files of the model `name`: every name in them begins with it."""

    def text(file: str) -> str:
        found = (CORE / file).read_text(encoding="utf-8")
        found = re.sub(r'#include "(core|integers).h"', rf'#include "{name}_\1.h"', found)
        return re.sub(rf"\baetool_({'|'.join(_FUNCTIONS)})\b", rf"{name}_\1", found)

    header = text("core.h").replace(_ROWS, "#define AETOOL_ROWS 1\n" + "#define AETOOL_INTEGERS\n" * integers)
    source, found, _ = text("core.c").partition(_CHECKS)
    assert found and "#define AETOOL_ROWS 1\n" in header
    guard = asset("c_files/guard.h", name=name).decode()
    files = {f"{name}_core.c": guard + source, f"{name}_core.h": header}
    if integers:
        files |= {f"{name}_integers.{ending}": text(f"integers.{ending}") for ending in ("c", "h")}
    return {path: content.encode() for path, content in files.items()}


def core_program(bundle: Bundle, graph: str) -> Program | None:
    """Return the program of a graph; None where the core lacks something that it needs.

    Raises:
        BundleError: the graph is not let in.
    """
    row = row_of(bundle, graph)
    try:
        results, steps = steps_of(admitted_model(bundle, graph), row)
    except UnsupportedError:
        return None
    return lay_out(results, steps, row, narrowest=NARROWEST)


def program_source(program: Program, prefix: str, given: str, name: str) -> CSource:
    """Return the C of a program, whose file-scope names begin with `prefix`.

    Args:
        program: laid out with panels of 4 outputs.
        prefix: of every name.
        given: name of the input.
        name: prefix of the names of the core.
    """
    steps = np.frombuffer(program.steps, STEP)
    arrays: dict[str, tuple[str, NDArray[Any]]] = {
        "floats": ("float", program.floats),
        "halves": ("uint16_t", program.halves),
        "bytes": ("int8_t", program.integers),
        "indexes": ("int32_t", np.frombuffer(program.indexes, "<i4")),
    }
    parts = [_array(f"{prefix}_{name}", kind, values) for name, (kind, values) in arrays.items() if len(values)]
    rows = [
        f"    {{{', '.join(str(value) for value in step.tolist()[:-1])}, {_number(step['alpha'])}}},\n"
        for step in steps
    ]
    parts.append(f"static const aetool_step {prefix}_steps[{len(steps)}] = {{\n{''.join(rows)}}};\n")
    width = int(np.prod(program.row))
    fields = [f".steps = {prefix}_steps"]
    fields += [f".{name} = {prefix}_{name}" for name, (_, values) in arrays.items() if len(values)]
    fields += [f".n_steps = {len(steps)}"]
    fields += [f".n_{name} = {len(values)}" for name, (_, values) in arrays.items() if name != "bytes"]
    fields += [f".n_input = {width}", f".n_outputs = {len(program.outputs)}"]
    fields += [f".output = {{{', '.join(map(str, program.sizes))}}}", f".n_work = {program.work}"]
    parts.append(
        f"static const aetool_plan {prefix}_plan = {{\n    {(',' + chr(10) + '    ').join(fields)},\n}};\n"
    )
    parameters = {given: Array("float", (width,), constant=True)}
    for output, size in zip(program.outputs, program.sizes, strict=True):
        parameters[output.name] = Array("bool" if output.decides else "float", (size,))
    parts.append(_function(program, prefix, parameters, name))
    constants = sum(values.nbytes for _, values in arrays.values()) + len(program.steps)
    work = 4 * max(program.work, 1) + sum(
        4 * size for output, size in zip(program.outputs, program.sizes, strict=True) if output.decides
    )
    return CSource(
        f'#include "{name}_core.h"\n#include <math.h>\n#include <stdbool.h>\n\n' + "\n".join(parts),
        parameters,
        constants_bytes=constants,
        activations_bytes=work,
        largest_live_bytes=work,
    )


def _function(program: Program, prefix: str, parameters: dict[str, Array], name: str) -> str:
    given, *outputs = parameters
    declared = ", ".join(
        f"{'const ' if array.constant else ''}{array.type} *{key}" for key, array in parameters.items()
    )
    lines = [f"    float work[{max(program.work, 1)}];"]
    passed, after = [], []
    for output in outputs:
        array = parameters[output]
        if array.type == "bool":
            lines.append(f"    float {output}_number[{array.elements}];")
            after.append(f"    for (int i = 0; i < {array.elements}; ++i) {output}[i] = {output}_number[i] != 0;")
            passed.append(f"{output}_number")
        else:
            passed.append(output)
    # Assigned one by one: ISO C99 initialises arrays in braces with constants alone.
    lines.append(f"    float *outputs[{len(passed)}];")
    lines += [f"    outputs[{i}] = {value};" for i, value in enumerate(passed)]
    lines.append(f"    {name}_run(&{prefix}_plan, {given}, outputs, 1, work);")
    return f"static void {prefix}_graph({declared}) {{\n" + "\n".join([*lines, *after]) + "\n}\n"


def _array(name: str, kind: str, values: NDArray[Any]) -> str:
    write = _number if kind == "float" else str
    numbers = [write(value) for value in values.tolist()] if kind != "float" else [_number(v) for v in values]
    lines = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
    return f"static const {kind} {name}[{len(numbers)}] = {{\n    " + ",\n    ".join(lines) + "};\n"


def _number(value: Any) -> str:
    """Return a float32 with as many digits as tell it from others."""
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    return f"{np.float32(value)!s}f"
