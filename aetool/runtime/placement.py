"""Which execution provider takes each node of a graph: onnxruntime's own record, not a guess."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from aetool.errors import ProviderError
from aetool.runtime.engine import onnxruntime
from aetool.runtime.providers import Provider
from aetool.runtime.session import open_session


class NodePlacement(NamedTuple):
    """One node of a graph, as onnxruntime assigned it; what it folds away before, such as constants, has none."""

    name: str
    operator: str
    """ONNX operator, with its domain where that is not ONNX's own."""
    provider: str
    """onnxruntime's name of the execution provider."""


def placement(model: bytes, provider: Provider, where: str) -> list[NodePlacement]:
    """Where each node of `model` runs; asked of a session made for the purpose, since recording costs time.

    Raises:
        ProviderError: the provider does not work here or does not take every node; or onnxruntime is too old to
            tell.
        BundleError: onnxruntime refuses the model.
    """
    session = open_session(model, provider, where=where, record_placement=True)
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise ProviderError(
            f"{where}: which provider takes each node needs onnxruntime 1.24.1 or newer, found "
            f"{onnxruntime().__version__}; upgrade it"
        )
    return [
        NodePlacement(node.name, f"{node.domain}.{node.op_type}" if node.domain else node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def nodes_by_provider(nodes: Iterable[NodePlacement]) -> dict[str, int]:
    """How many nodes each execution provider takes: {"CUDAExecutionProvider": 8}."""
    return dict(Counter(node.provider for node in nodes))
