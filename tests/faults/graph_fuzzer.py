"""Graphs made at random of operators that are let in: odd attributes, shapes, types, inputs and sizes."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from operator_samples import OPSETS, SAMPLES

ODD = [-(2**63), -(2**31), -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 255, 1000, 2**31 - 1, 2**31, 2**62, 2**63 - 1]
ODD_FLOATS = [0.0, -1.0, 0.5, 1.0, 2.0, 1e-30, 1e9, 3e38, -3e38, 1e-45]
ODD_TEXTS = ["", "NOTSET", "SAME_UPPER", "VALID", "linear", "cubic", "nearest", "bidirectional", "reverse", "tanh"]
ODD_TEXTS += ["Relu", "MAX", "floor", "reflect", "edge", "wrap", "x", "ij,jk->ik", "i->", "ii->i", "...->..."]
TYPES = [np.float32, np.float64, np.int64, np.int32, np.uint8, np.int8, np.bool_, np.float16, np.int16, np.uint64]
WHERE = (np.float32, np.float64, np.int64, np.int32, np.uint8)
"""Types of onnxruntime's Where."""
COMPUTING = ["Add", "Sub", "Mul", "Div", "Concat", "Gather", "Slice", "Where", "Reshape"] * 4 + [
    "Cast",
    "Reduce",
    "Min",
    "Max",
    "Mod",
    "Neg",
    "Abs",
    "Clip",
    *["Float"] * 4,
]
USING = [
    "ConstantOfShape",
    "Expand",
    "Reshape",
    "Tile",
    "Range",
    "Pad",
    "Slice",
    "Resize",
    "Resize by factors",
    "Range of floats",
    "Split",
    "TopK",
    "OneHot",
]


class Graph:
    """A graph that grows; its one input is `features`, (n, 6)."""

    def __init__(self, random):
        self.random = random
        self.nodes, self.constants, self.domains = [], [], {"": int(random.choice([11, 13, 17, 18, 18, 18, 21]))}
        self.runtime = ["features"]
        """Values that depend on the rows."""
        self.count = 0
        self.outputs = []

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, value):
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def node(self, operator, inputs, outputs=1, domain="", **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        if domain:
            self.domains[domain] = {"ai.onnx.ml": 3}.get(domain, 1)
        return names[0] if outputs == 1 else names

    def value(self, array):
        """A constant, or the same numbers where nothing knows them before it runs, or a batch of them."""
        constant = self.constant(array)
        how = self.random.random()
        if how < 0.4 or array.dtype.type not in WHERE:
            return constant
        if how < 0.75:
            least = self.node("ReduceMin", ["features"], keepdims=0)
            never = self.node("Less", [least, self.constant(np.float32(-1e30))])
            return self.node("Where", [never, constant, constant])
        rows = self.node("Shape", ["features"])
        rows = self.node("Gather", [rows, self.constant(np.array([0]))], axis=0)
        rest = np.array(array.shape[1:] if array.ndim > 1 else array.shape, np.int64)
        shape = self.node("Concat", [rows, self.constant(rest)], axis=0)
        first = array[:1] if array.ndim > 1 else array
        return self.node("Expand", [self.constant(first), shape])

    def model(self):
        known = [helper.make_empty_tensor_value_info(name) for name in self.outputs[-4:]]
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", ["features"], ["same"])],
            "g",
            [helper.make_tensor_value_info("features", 1, ["n", 6])],
            [*known, helper.make_tensor_value_info("same", 1, ["n", 6])],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def made(seed):
    """The bytes of a graph, and the operators of its nodes."""
    random = np.random.default_rng(seed)
    graph = Graph(random)
    names = list(SAMPLES)
    chosen = [names[seed % len(names)], *random.choice(names, random.integers(0, 3))]
    for operator in chosen:
        if random.random() < 0.25:
            _sized(graph, random)
        _add(graph, str(operator), random)
    model = graph.model()
    return model.SerializeToString(), " ".join(map(str, chosen))


def _add(graph, operator, random):
    """A node from a sample, changed in some ways."""
    samples = SAMPLES[operator]
    inputs, outputs, attributes = samples[random.integers(len(samples))]
    if operator in OPSETS:
        graph.domains[""] = OPSETS[operator]
    arrays, attributes = list(inputs), dict(attributes)
    for _ in range(int(random.choice([0, 1, 1, 2]))):
        place = int(random.integers(len(arrays)))
        how = random.random()
        if how < 0.3:
            _change_attribute(operator, attributes, graph.domains[""], random)
        elif how < 0.75 and arrays[place] is not None:
            arrays[place] = _changed(np.asarray(arrays[place]), random)
        elif how < 0.83:
            arrays[place] = None
        elif how < 0.9:
            arrays.append(arrays[place])
        elif how < 0.95:
            outputs += 1
    names = ["" if array is None else graph.value(np.asarray(array)) for array in arrays]
    if graph.outputs and names and random.random() < 0.35:
        names[0] = str(random.choice(graph.outputs))
    if names and names[0] and np.ndim(arrays[0]) and random.random() < 0.3:
        names[0] = _enlarged(graph, names[0], np.ndim(arrays[0]), random)
    domain, _, op_type = operator.rpartition(".")
    try:
        found = graph.node(op_type, names, outputs, domain=domain, **attributes)
    except (ValueError, TypeError, OverflowError):  # a number that protobuf does not take
        return
    graph.outputs += [found] if isinstance(found, str) else found


def _enlarged(graph, name, rank, random):
    """The same many times, so that what an operator takes for itself shows."""
    repeats = np.ones(rank, np.int64)
    repeats[random.integers(rank)] = random.choice([20, 500, 8000, 50_000])
    if random.random() < 0.4:
        repeats[random.integers(rank)] = random.choice([2, 20, 100])
    return graph.node("Tile", [name, graph.constant(repeats)])


def _changed(array, random):  # noqa: PLR0911
    how = random.random()
    if how < 0.2:
        with np.errstate(all="ignore"):
            return array.astype(TYPES[random.integers(len(TYPES))])
    if how < 0.5 and array.size:
        result = array.copy()
        odd = ODD if array.dtype.kind in "iu" else ODD_FLOATS
        with np.errstate(all="ignore"):
            value = np.array(odd[random.integers(len(odd))]).astype(array.dtype)
        if random.random() < 0.5:
            result[...] = value
        else:
            result.flat[random.integers(result.size)] = value
        return result
    shape = list(array.shape)
    if not shape:
        return np.broadcast_to(array, [int(random.choice([0, 1, 2]))])
    place = int(random.integers(len(shape)))
    if how < 0.75:  # another side
        side = int(random.choice([0, 1, 2, 3, 5, 17, 1000]))
        return np.resize(array, [side if i == place else old for i, old in enumerate(shape)])
    if how < 0.85:
        return np.expand_dims(array, place)
    if how < 0.95:
        return np.resize(array, shape[:place] + shape[place + 1 :])
    return np.resize(array, [0])


def _change_attribute(operator, attributes, opset, random):
    domain, _, name = operator.rpartition(".")
    names = list(attributes)
    schema = None
    if onnx.defs.has(name, domain) and domain != "com.microsoft":
        schema = onnx.defs.get_schema(name, OPSETS.get(operator, 18) if not domain else 3, domain)
        names = [*names, *schema.attributes]
    if not names:
        return
    chosen = str(random.choice(names))
    if schema is not None and chosen in schema.attributes:
        kind = int(schema.attributes[chosen].type)
    else:
        kind = helper.make_attribute(chosen, attributes[chosen]).type
    number = int(random.choice(np.array(ODD, object)))
    size = int(random.choice([0, 1, 2, 2, 4, 4]))
    if kind == AttributeProto.INT:
        attributes[chosen] = number
    elif kind == AttributeProto.INTS:
        old = attributes.get(chosen)
        if isinstance(old, list) and old and random.random() < 0.7:
            attributes[chosen] = [number if random.random() < 0.5 else int(each) for each in old]
        elif size:
            attributes[chosen] = [number if random.random() < 0.5 else 1 for _ in range(size)]
    elif kind == AttributeProto.FLOAT:
        attributes[chosen] = float(random.choice(ODD_FLOATS))
    elif kind == AttributeProto.FLOATS and size:
        attributes[chosen] = [float(random.choice(ODD_FLOATS)) for _ in range(size)]
    elif kind == AttributeProto.STRING:
        attributes[chosen] = str(random.choice(ODD_TEXTS))
    elif kind == AttributeProto.STRINGS and size:
        attributes[chosen] = [str(random.choice(ODD_TEXTS)) for _ in range(size)]


def _sized(graph, random):
    """A size computed step by step from shapes and constants, and a node that is as large as it says."""
    axis0 = {"axis": 0}
    shape = graph.node("Shape", [str(random.choice([*graph.outputs, "features"]))])
    sizes = [shape]
    kind = TensorProto.INT64

    def number():
        return graph.constant(np.array([int(random.choice([-2, -1, 0, 1, 2, 3, 6, 7, 40, 1000, 2**31, 2**40]))]))

    for _ in range(int(random.integers(1, 6))):
        how, last = str(random.choice(COMPUTING)), sizes[-1]
        if how in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Mod"):
            made_of = [last, number() if random.random() < 0.6 else str(random.choice(sizes))]
            sizes.append(graph.node(how, made_of if random.random() < 0.8 else made_of[::-1]))
        elif how == "Concat":
            sizes.append(graph.node(how, [last, number()], **axis0))
        elif how == "Gather":
            sizes.append(
                graph.node(how, [last, graph.constant(np.array([int(random.choice([0, 0, 1, -1]))]))], **axis0)
            )
        elif how == "Slice":
            sizes.append(
                graph.node(how, [last, *(graph.constant(np.array([int(x)])) for x in random.integers(-2, 3, 2))])
            )
        elif how == "Cast":
            through = int(random.choice([1, 6, 6, 7, 9, 10, 11]))
            sizes.append(graph.node(how, [graph.node(how, [last], to=through)], to=kind))
        elif how == "Reduce":
            how += str(random.choice(["Prod", "Sum", "Max", "Min"]))
            sizes.append(graph.node(how, [last], keepdims=1))
        elif how in ("Neg", "Abs"):
            sizes.append(graph.node(how, [last]))
        elif how == "Clip":
            bounds = [graph.node("Squeeze", [name]) for name in (number(), str(random.choice(sizes)))]
            sizes.append(graph.node(how, [last, *bounds]))
        elif how == "Float":
            sizes.append(graph.node("Cast", [_in_floats(graph, random, last)], to=kind))
        elif how == "Where":
            test = graph.node(str(random.choice(["Equal", "Less", "Greater"])), [last, number()])
            sizes.append(graph.node(how, [test, number(), last]))
        elif how == "Reshape":
            sizes.append(graph.node("Reshape", [last, graph.constant(np.array([-1]))]))
    _use(graph, random, sizes)


def _in_floats(graph, random, size):
    """A size as a float, and what exporters do with it."""
    found = graph.node("Cast", [size], to=TensorProto.FLOAT)
    for how in random.choice(
        ["Mul", "Div", "Add", "Sub", "Floor", "Ceil", "Round", "Max"], int(random.integers(3))
    ):
        many = how in ("Mul", "Div", "Add", "Sub", "Max")
        other = [graph.constant(np.float32(random.choice([*ODD_FLOATS, 1.5, 3.0, 7.0])))] if many else []
        found = graph.node(str(how), [found, *other])
    return found


def _use(graph, random, sizes):
    how, size = str(random.choice(USING)), sizes[-1]
    source = str(random.choice([*graph.outputs, "features"]))
    one = graph.node("Gather", [size, graph.constant(np.array([0]))], axis=0)
    scalar = graph.node("Gather", [size, graph.constant(np.int64(0))], axis=0)
    zero = graph.constant(np.int64(0))
    zeros = graph.constant(np.array([0]))
    if how in ("ConstantOfShape",):
        found = graph.node(how, [size])
    elif how in ("Expand", "Reshape", "Tile", "Pad"):
        found = graph.node(how, [source, size])
    elif how == "Range":
        found = graph.node(how, [zero, scalar, graph.constant(np.int64(int(random.choice([-1, 1, 3]))))])
    elif how == "Slice":
        found = graph.node(how, [source, zeros, one])
    elif how == "Resize":
        found = graph.node(how, [source, "", "", size])
    elif how == "Resize by factors":
        found = graph.node("Resize", [source, "", _in_floats(graph, random, size)])
    elif how == "Range of floats":
        limit = _in_floats(graph, random, scalar)
        ends = [graph.constant(np.float32(random.choice(ODD_FLOATS))) for _ in range(2)]
        found = graph.node("Range", [ends[0], limit, ends[1]])
    elif how == "Split":
        found = graph.node(how, [source, size], 2)[0]
    elif how == "TopK":
        found = graph.node(how, [source, one], 2)[0]
    else:
        indices = graph.constant(np.zeros(3, np.int64))
        found = graph.node(how, [indices, one, graph.constant(np.array([0, 1], np.float32))])
    graph.outputs.append(found)


def one_byte_changed(content, random):
    """The same with another byte somewhere."""
    changed = bytearray(content)
    place = int(random.integers(len(changed)))
    changed[place] = (
        (changed[place] + int(random.integers(1, 256))) % 256
        if random.random() < 0.5
        else int(random.choice([0, 1, 127, 128, 255]))
    )
    return bytes(changed)
