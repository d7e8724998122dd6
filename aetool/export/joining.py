"""Two ONNX files, an encoder and a decoder, as one graph."""

from collections.abc import Sequence

from onnx import ModelProto, helper

from aetool.errors import ExportError
from aetool.export.batch import real_inputs
from aetool.export.compatibility import bring_down, standard_opset
from aetool.export.inspection import nodes, rename_values


def join(encoder: ModelProto, decoder: ModelProto, embedding: str, outputs: Sequence[str]) -> ModelProto:
    """One model: what `encoder` gives as `embedding` is what `decoder` takes.

    Args:
        embedding: an output of the encoder.
        outputs: names for the model's outputs: of the embedding, and of every output of the decoder in order.

    Raises:
        ExportError: the two need other versions of a set of operators.
    """
    opset = max(standard_opset(encoder), standard_opset(decoder))
    first, second = bring_down(encoder, opset), bring_down(decoder, opset)
    domains = {entry.domain: entry.version for entry in first.opset_import}
    for entry in second.opset_import:
        if domains.setdefault(entry.domain, entry.version) != entry.version:
            raise ExportError(
                f"the two files use versions {domains[entry.domain]} and {entry.version} of the operators of "
                f"{entry.domain!r}; export both with the same version"
            )
    taken = real_inputs(second)[0].name
    made = [value.name for value in second.graph.output]
    names = {taken: outputs[0], **dict(zip(made, outputs[1:], strict=True))}
    rename_values(first.graph, lambda name: outputs[0] if name == embedding else f"encoder/{name}")
    rename_values(second.graph, lambda name: names.get(name, f"decoder/{name}"))
    for prefix, model in (("encoder", first), ("decoder", second)):
        for node in nodes(model.graph):
            node.name = node.name and f"{prefix}/{node.name}"
    graph = helper.make_graph(
        [*first.graph.node, *second.graph.node],
        "autoencoder",
        real_inputs(first),
        [value for value in first.graph.output if value.name == outputs[0]] + list(second.graph.output),
        [*first.graph.initializer, *second.graph.initializer],
    )
    joined = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=max(first.ir_version, second.ir_version),
    )
    joined.producer_name = encoder.producer_name
    stated = {entry.key: entry.value for model in (decoder, encoder) for entry in model.metadata_props}
    helper.set_model_props(joined, stated)
    return joined
