"""The files of a target, and the next step with them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.manifest import GRAPHS, MANIFEST, SEGMENTER
from aetool.onnx_check.check import require_admissible
from aetool.onnx_check.model import OnnxModel

ASSETS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Deployment:
    """Files for another host, not yet written."""

    files: Mapping[str, bytes]
    """Path inside the directory -> content."""
    next_step: str
    """Command that runs it."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Known needs, in bytes."""

    @property
    def size(self) -> int:
        """Return the size of all files, in bytes."""
        return sum(map(len, self.files.values()))


def asset(path: str, /, **values: str) -> bytes:
    """Return a file that lies beside this one, `{{word}}` in it replaced by `values[word]`."""
    content = (ASSETS / path).read_bytes()
    if not values:
        return content
    filled = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], content.decode())
    return filled.encode()


def in_order(bundle: Bundle, precision: str = "fp32") -> tuple[str, ...]:
    """Return the graphs that the bundle has in a precision."""
    files = bundle.variant(precision).files
    return tuple(graph for graph in (*GRAPHS, SEGMENTER) if graph in files)


def admitted(bundle: Bundle, graph: str) -> bytes:
    """Return the ONNX file of `graph`, checked as `load` checks it before anything runs it.

    Raises:
        BundleError: the file is damaged, or its graph is not let in.
    """
    content = bundle.graph(graph)
    require_admissible(content, row_of(bundle, graph), bundle.limits, f"{bundle.path}: {graph}")
    return content


def row_of(bundle: Bundle, graph: str) -> tuple[int, ...]:
    """Return the shape of one row that `graph` takes."""
    manifest = bundle.manifest
    return (manifest.embedding_shape if graph == "decoder" else manifest.input_shape) or ()


def admitted_model(bundle: Bundle, graph: str, precision: str = "fp32") -> OnnxModel:
    """Return the graph of `admitted`, read.

    Raises:
        BundleError: the file is damaged, or its graph is not let in.
    """
    content = bundle.graph(graph, precision)
    return require_admissible(content, row_of(bundle, graph), bundle.limits, f"{bundle.path}: {graph}")


def bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the bundle in fp32 alone, whole in itself: graphs, under their own names, golden vectors, manifest.

    Raises:
        BundleError: a file is damaged, or a graph is not let in.
    """
    manifest, variant = bundle.manifest, bundle.manifest.variants["fp32"]
    names = {graph: f"{graph}.onnx" for graph in in_order(bundle)}
    records = {names[graph]: manifest.files[variant.files[graph]] for graph in names}
    graphs = {names[graph]: admitted(bundle, graph) for graph in names}
    if variant.calibrator is not None:
        content = bundle.read(variant.calibrator)
        require_admissible(content, (), bundle.limits, f"{bundle.path}: calibrator")
        graphs[CALIBRATOR] = content
        records[CALIBRATOR] = manifest.files[variant.calibrator]
        variant = variant._replace(calibrator=CALIBRATOR)
    alone = manifest._replace(
        variants={"fp32": variant._replace(files=names)},
        files={**records, GOLDEN: manifest.files[GOLDEN]},
    )
    return {**graphs, GOLDEN: bundle.read(GOLDEN), MANIFEST: alone.to_json().encode()}


CALIBRATOR = "calibrator.onnx"
"""Graph that makes p-values of scores, beside the others."""


def identifier(name: str) -> str:
    """Return a bundle's name as C, npm and Triton take it: at most 48 letters, digits and _, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    plain = plain if plain[:1].isalpha() else f"model_{plain}"
    return plain[:48].rstrip("_")
