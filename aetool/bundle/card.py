"""The bundle's README: a model card (Hugging Face metadata header), made of the manifest alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aetool.bundle import escape
from aetool.bundle.escape import markdown_code as _cell
from aetool.bundle.manifest import DOUBLE, Manifest
from aetool.suggest import few

CARD = "README.md"


def model_card(manifest: Manifest) -> str:
    """Return Markdown with a YAML header, made of the manifest's facts alone."""
    figures = manifest.variants["fp32"].figures
    columns = few(list(map(_cell, manifest.feature_names)), 20)
    listed = ""
    for name, texts in manifest.categories.items():
        listed += f"\n| {_cell(name)} | index of {few(list(map(_cell, texts)), 20)}; else none of them |"
    if constant := manifest.provenance.get("constant_features"):
        how = manifest.provenance.get("training", {}).get("constant")
        counts = "is not scored" if how == "ignore" else "counts as evidence"
        listed += f"\n| never changed in training | {few(list(map(_cell, constant)), 20)}: a change {counts} |"
    share = manifest.threshold.get("flagged_share")
    chosen = str(manifest.threshold["method"])
    if share is not None:
        chosen += f", flags {share:.2%} of {manifest.threshold['rows']:,} rows"
    proven = (
        f"largest range-scaled difference to {figures['reference']} {figures['max_scaled_difference']:.1e}, "
        f"{figures['flipped_decisions']} decisions flipped"
    )
    if figures.get("form") in DOUBLE:
        proven += "; the graphs compute in float64 inside, since float32 would round too much"
    # A float32 number in as few digits as tell it from its neighbours: with fewer, a row between would be judged
    # otherwise by whoever types it.
    threshold = f"{np.float32(manifest.threshold['value'])!s}"
    tabular = "pipeline_tag: tabular-classification\n" if len(manifest.input_shape) == 1 else ""
    tools = ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items())
    return f"""---
library_name: aetool
{tabular}tags: [autoencoder, anomaly-detection, onnx]
model_name: {escape.yaml(manifest.name)}
---

# {escape.markdown(manifest.name)}

An autoencoder in ONNX: rows of shape {_shape(manifest.input_shape)}, embeddings of shape
{_shape(manifest.embedding_shape)}. {_units(manifest)}

```python
import aetool

model = aetool.load({escape.python(manifest.name)})
model.score(rows)   # (rows, {_shape(manifest.input_shape)}) -> (rows,), higher is more abnormal
model.detect(rows)  # score above {threshold}, or not a number
```

| | |
| --- | --- |
| features | {columns or "no table"} |{listed}
| score | {manifest.score["definition"]} |
| threshold | {threshold}: {chosen} |{_of_rows(manifest)}
| made from | {_origin(manifest.provenance)} |
| proven | {proven} |
| opset | {manifest.opset} (IR {manifest.ir_version}) |
| made with | {tools} |
{_precisions(manifest)}
`aetool verify` runs golden.npz on the machine at hand: rows, with what the reference gave for them
({figures["reference"]}).
"""


def _of_rows(manifest: Manifest) -> str:
    """Return a line about the rows of a log, where they have a threshold of their own."""
    threshold = manifest.row_threshold("fp32")
    return "" if threshold is None else f"\n| threshold for rows of a log | {np.float32(threshold)!s} |"


def _units(manifest: Manifest) -> str:
    """Return the units of rows and reconstructions, in words."""
    if manifest.score.get("scaled", "training" in manifest.provenance):
        return "Rows and reconstructions are in raw units; scaling is inside the graphs."
    return (
        "Rows are what the model itself takes, reconstructions are in the same units: nothing is scaled, and "
        "large columns weigh more in the score."
    )


def _origin(provenance: Mapping[str, Any]) -> str:
    if "training" not in provenance:
        return ", ".join(f"{key} {_cell(str(value))}" for key, value in provenance.items())
    return (
        f"{provenance.get('rows_trained', '?')} rows of {_cell(str(provenance.get('data') or 'a table'))}, "
        f"seed {provenance['training']['seed']}, {provenance['epochs']} epochs"
    )


def _precisions(manifest: Manifest) -> str:
    """Return a table of the variants, if there are any besides fp32; unknown figures stay empty."""
    if len(manifest.variants) == 1:
        return ""
    lines = ["", "| precision | threshold | size to fp32's | flips | AUROC drop | rows a second to fp32's |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for precision, variant in manifest.variants.items():
        figures = [
            _figure(variant.figures, "bytes_ratio", "all", ".2f"),
            _figure(variant.figures, "fidelity", "flips", ".2%"),
            _figure(variant.figures, "fidelity", "auroc_drop", ".4f"),
            _figure(variant.figures, "speed", "bulk", ".2f"),
        ]
        lines.append(f"| {_cell(precision)} | {variant.threshold:.6g} | {' | '.join(figures)} |")
    return "\n".join([*lines, "", "`aetool.load(..., precision=...)` takes one of them.", ""])


def _figure(figures: Mapping[str, Any], group: str, name: str, form: str) -> str:
    value = found.get(name) if isinstance(found := figures.get(group), Mapping) else None
    return format(value, form) if isinstance(value, int | float) else ""


def _shape(shape: tuple[int, ...] | None) -> str:
    return ", ".join(map(str, shape)) if shape else "none"
