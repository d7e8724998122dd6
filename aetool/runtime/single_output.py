"""A graph for one of its outputs: without the others, and without the nodes that only they need.

onnxruntime runs every node of a graph, whichever outputs it is asked for.
"""

from aetool.runtime.wire import BYTES, Field, field, fields

_GRAPH = 7  # field of ModelProto, onnx.proto
_NODE, _INITIALIZER, _OUTPUT, _VALUE_INFO = 1, 5, 12, 13  # fields of GraphProto
_NAME = {_INITIALIZER: 8, _OUTPUT: 1, _VALUE_INFO: 1}  # field of each of these
_INPUTS, _OUTPUTS, _ATTRIBUTE = 1, 2, 5  # fields of NodeProto
_INNER_GRAPHS = {6, 11}  # fields of AttributeProto


def with_only(model: bytes, output: str) -> tuple[bytes, set[str]]:
    """The serialised ONNX `model` that computes `output` alone, by the same nodes, and the values that went.

    `model` has been let in by `aetool.runtime.admission`. Nodes with graphs inside, which read values that are no
    inputs of theirs, stay with all that the model has.
    """
    whole = list(fields(memoryview(model)))
    graph = next(list(fields(_bytes(part))) for part in whole if part[0] == _GRAPH)
    nodes = [_values(part) for part in graph if part[0] == _NODE]
    makers = {name: node for node in nodes for name in node[_OUTPUTS]}
    needed: set[str] = set()
    todo = [output]
    if any(_has_inner_graphs(part) for part in graph if part[0] == _NODE):
        todo += [name for node in nodes for name in (*node[_INPUTS], *node[_OUTPUTS])]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += makers[name][_INPUTS] if name in makers else ()
    kept = b"".join(field(part[0], part[2]) for part in graph if _stays(part, needed, output))
    return b"".join(field(part[0], kept if part[0] == _GRAPH else part[2]) for part in whole), set(makers) - needed


def _stays(part: Field, needed: set[str], output: str) -> bool:
    if part[0] == _NODE:
        return not needed.isdisjoint(_values(part)[_OUTPUTS])
    if part[0] not in _NAME:
        return True
    name = "".join(_texts(part, _NAME[part[0]]))
    return name == output if part[0] == _OUTPUT else name in needed


def _values(node: Field) -> dict[int, list[str]]:
    """Names of a node's inputs and outputs."""
    return {number: _texts(node, number) for number in (_INPUTS, _OUTPUTS)}


def _has_inner_graphs(node: Field) -> bool:
    attributes = (part for part in fields(_bytes(node)) if part[0] == _ATTRIBUTE)
    return any(number in _INNER_GRAPHS for attribute in attributes for number, _, _ in fields(_bytes(attribute)))


def _texts(part: Field, number: int) -> list[str]:
    return [str(_bytes(inner), "utf-8") for inner in fields(_bytes(part)) if inner[0] == number]


def _bytes(part: Field) -> memoryview:
    _, kind, content = part
    assert kind == BYTES
    assert not isinstance(content, int)
    return content
