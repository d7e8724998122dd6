"""A graph of supported nodes gives on the core what it gives on onnxruntime, NaN and Inf included."""

import os
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from small_graphs import bfloat16, model_of, node, program_of, rows_for, small_bundles, value
from specified import compiled, specified

from aetool.core.translate import translate_tail
from aetool.onnx_check.model import read_model

core: Any = pytest.importorskip("aetool.core._native", reason="the core is not compiled here")
KIND = core.variants()[0]
LONG = os.environ.get("AETOOL_LONG") == "1"
FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def on_onnxruntime(content: bytes, rows: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, {"features": rows})
    return found


def on_core(content: bytes, rows: Any) -> list[Any]:
    program = program_of(content, rows.shape[1:])
    found = compiled(core, KIND, program, np.ascontiguousarray(rows.reshape(len(rows), -1)))
    return [
        array.reshape(len(rows), *output.shape).astype(np.bool_ if output.decides else np.float32)
        for array, output in zip(found, program.outputs, strict=True)
    ]


def require_same(content: bytes, rows: Any) -> None:
    expected, found = on_onnxruntime(content, rows), on_core(content, rows)
    numbers = [np.abs(array[np.isfinite(array)]) for array in expected if array.dtype == np.float32]
    size = max((float(array.max()) for array in numbers if array.size), default=0.0)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.dtype == np.bool_:
            assert np.array_equal(one, other)
            continue
        close = np.isclose(one, other, rtol=0, atol=1e-5 * size, equal_nan=True)
        assert close.all(), (one[~close][:3], other[~close][:3], size)


class Made(NamedTuple):
    name: str
    shape: tuple[int, ...]
    exact: bool
    """Each of its operations rounds once: the same bits wherever it runs."""


class Growing:
    """A graph that grows by nodes chosen at random."""

    def __init__(self, random: np.random.Generator, row: tuple[int, ...]) -> None:
        self.random, self.row = random, row
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.values = [Made("features", row, True)]
        self.decisions: list[Made] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def floats(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.random.normal(size=shape) * scale).astype(np.float32))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        return name

    def add(self, name: str, shape: tuple[int, ...], exact: bool) -> None:
        self.values.append(Made(name, shape, exact))

    def any(self, exact: bool = False) -> Made:
        fitting = [made for made in self.values[-5:] if made.exact or not exact] or self.values[:1]
        return fitting[self.random.integers(len(fitting))]

    def other(self, made: Made, exact: bool) -> tuple[str, bool]:
        """An operand for `made`: a value of its shape or of one number, or a constant of some shape."""
        random = self.random
        if random.random() < 0.5:
            fitting = [
                one
                for one in self.values
                if len(one.shape) == len(made.shape)
                and all(side in (1, wanted) for side, wanted in zip(one.shape, made.shape, strict=True))
                and (one.exact or not exact)
            ]
            if fitting:
                one = fitting[random.integers(len(fitting))]
                return one.name, one.exact
        shape = made.shape[int(random.integers(len(made.shape) + 1)) :]
        shape = tuple(side if random.random() < 0.7 else 1 for side in shape)
        return self.floats(*([1] if len(shape) == len(made.shape) and random.random() < 0.3 else []), *shape), True

    def flat(self) -> Made:
        made = self.any()
        if len(made.shape) == 1:
            return made
        return Made(self.node("Flatten", made.name), (int(np.prod(made.shape, dtype=int)),), made.exact)

    def grow(self, operator: str) -> None:
        getattr(self, f"_{operator}")()

    def _dense(self) -> None:
        made, random = self.flat(), self.random
        (n,), m = made.shape, int(random.choice([1, 2, 5, 16, 33, 70]))
        scale = float(1 / np.sqrt(n))
        how = random.integers(4)
        if how == 0:
            name = self.node("Gemm", made.name, self.floats(n, m, scale=scale), self.floats(m))
        elif how == 1:
            name = self.node("Gemm", made.name, self.floats(m, n, scale=scale), transB=1)
        elif how == 2:
            halves = self.constant(bfloat16(random.normal(size=(n, m)) * scale))
            name = self.node("MatMul", made.name, self.node("Cast", halves, to=FLOAT))
        else:
            product = self.node("MatMul", made.name, self.floats(n, m, scale=scale))
            pair = [product, self.floats(m)]
            name = self.node("Add", *(pair if random.random() < 0.5 else pair[::-1]))
        self.add(name, (m,), False)

    def _activation(self) -> None:
        made = self.any()
        operator = str(self.random.choice(["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Gelu", "Abs", "Neg"]))
        attributes = {"alpha": float(self.random.uniform(0, 1.5))} if operator in ("LeakyRelu", "Elu") else {}
        exact = made.exact and operator in ("Relu", "LeakyRelu", "Abs", "Neg")
        self.add(self.node(operator, made.name, **attributes), made.shape, exact)

    def _silu(self) -> None:
        made = self.any()
        pair = [made.name, self.node("Sigmoid", made.name)]
        self.add(self.node("Mul", *(pair if self.random.random() < 0.5 else pair[::-1])), made.shape, False)

    def _gelu(self) -> None:
        made, x = self.any(), self.any().name
        x = made.name
        one, half = self.constant(np.float32(1)), self.constant(np.float32(0.5))
        if self.random.random() < 0.5:
            inner = self.node("Div", x, self.constant(np.float32(np.sqrt(2))))
        else:
            inner = self.node("Mul", x, self.constant(np.float32(np.sqrt(0.5))))
        share = self.node("Add", self.node("Erf", inner), one)
        orders = [
            lambda: self.node("Mul", self.node("Mul", x, share), half),
            lambda: self.node("Mul", self.node("Mul", x, half), share),
            lambda: self.node("Mul", x, self.node("Mul", half, share)),
        ]
        self.add(orders[self.random.integers(3)](), made.shape, False)

    def _arithmetic(self) -> None:
        made = self.any()
        operator = str(self.random.choice(["Add", "Sub", "Mul", "Div"]))
        other, exact = self.other(made, False)
        if operator == "Div":
            other, exact = self.constant(np.float32(self.random.uniform(0.5, 2))), True
        pair = [made.name, other]
        if operator != "Div" and self.random.random() < 0.5:
            pair = pair[::-1]
        self.add(self.node(operator, *pair), made.shape, made.exact and exact)

    def _sqrt(self) -> None:
        made = self.any(exact=True)
        self.add(self.node("Sqrt", made.name), made.shape, True)

    def _decision(self) -> None:
        made = self.any(exact=True)
        other, _ = self.other(made, True)
        kind = self.random.integers(3)
        name = (
            self.node("IsNaN", made.name)
            if kind == 0
            else self.node(["Equal", "LessOrEqual"][kind - 1], made.name, other)
        )
        if self.random.random() < 0.4:
            name = self.node("Not", name)
        self.decisions.append(Made(name, made.shape, True))

    def _where(self) -> None:
        if not self.decisions:
            self._decision()
        decision = self.decisions[self.random.integers(len(self.decisions))]
        if self.random.random() < 0.4:
            self.add(self.node("Cast", decision.name, to=FLOAT), decision.shape, True)
            return
        (a, exact), (b, also) = self.other(decision, False), self.other(decision, False)
        self.add(self.node("Where", decision.name, a, b), decision.shape, exact and also)

    def _gather(self) -> None:
        made, random = self.any(), self.random
        if not made.shape:
            return
        axis = int(random.integers(len(made.shape)))
        side = made.shape[axis]
        single = random.random() < 0.2
        indexes = random.integers(-side, side, () if single else int(random.integers(1, 9)))
        shape = (*made.shape[:axis], *indexes.shape, *made.shape[axis + 1 :])
        self.add(self.node("Gather", made.name, self.constant(indexes), axis=axis + 1), shape, made.exact)

    def _concat(self) -> None:
        made = self.any()
        if not made.shape:
            return
        axis = int(self.random.integers(len(made.shape)))
        rest = made.shape[:axis] + made.shape[axis + 1 :]
        fitting = [
            one
            for one in self.values
            if len(one.shape) == len(made.shape) and one.shape[:axis] + one.shape[axis + 1 :] == rest
        ]
        parts = [made, *(fitting[i] for i in self.random.integers(0, len(fitting), 2))]
        side = sum(part.shape[axis] for part in parts)
        if side < 200:
            shape = (*made.shape[:axis], side, *made.shape[axis + 1 :])
            name = self.node("Concat", *(part.name for part in parts), axis=axis - len(made.shape))
            self.add(name, shape, all(part.exact for part in parts))

    def _shape(self) -> None:
        made, random = self.any(), self.random
        size = int(np.prod(made.shape, dtype=int))
        kind = random.integers(4)
        if kind == 0:
            first = int(random.choice([side for side in range(1, size + 1) if size % side == 0]))
            wanted = [int(random.choice([-1, 0])), first, size // first]
            if wanted[0] == 0 and random.random() < 0.5:
                wanted[2] = -1
            self.add(
                self.node("Reshape", made.name, self.constant(np.array(wanted))),
                (first, size // first),
                made.exact,
            )
        elif kind == 1 and len(made.shape) < 4:
            axis = int(random.integers(len(made.shape) + 1))
            name = self.node("Unsqueeze", made.name, self.constant(np.array([axis + 1])))
            self.add(name, (*made.shape[:axis], 1, *made.shape[axis:]), made.exact)
        elif kind == 2 and 1 in made.shape:
            axis = made.shape.index(1)
            name = self.node("Squeeze", made.name, self.constant(np.array([axis - len(made.shape)])))
            self.add(name, made.shape[:axis] + made.shape[axis + 1 :], made.exact)
        else:
            self.add(self.node("Flatten", made.name), (size,), made.exact)

    def _reduction(self) -> None:
        made, random = self.any(), self.random
        if not made.shape:
            return
        operator = str(random.choice(["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceMax", "ArgMax"]))
        keep = int(random.integers(2))
        if operator == "ArgMax":
            made = next((one for one in self.values[::-1] if one.exact and one.shape), self.values[0])
            made = Made(
                self.node("Where", self.node("IsNaN", made.name), self.constant(np.float32(0)), made.name),
                *made[1:],
            )
            name = self.node("Cast", self.node("ArgMax", made.name, axis=-1, keepdims=keep), to=FLOAT)
            self.add(name, (*made.shape[:-1], *[1] * keep), True)
            return
        if operator == "ReduceMax":  # onnxruntime may pass over a NaN
            zero = self.constant(np.float32(0))
            made = made._replace(name=self.node("Where", self.node("IsNaN", made.name), zero, made.name))
        first = int(random.integers(len(made.shape)))
        axes = list(range(first - len(made.shape), 0))
        name = self.node(operator, made.name, self.constant(np.array(axes)), keepdims=keep)
        self.add(name, (*made.shape[:first], *[1] * (len(axes) * keep)), False)

    def content(self) -> bytes:
        """The graph, its last values and decisions as outputs."""
        chosen = [made for made in self.values[1:] if made.name != "features"][-6:]
        outputs = [value(made.name, made.shape) for made in chosen]
        outputs += [value(made.name, made.shape, BOOL) for made in self.decisions[-8 + len(outputs) :][:2]]
        return model_of(self.nodes, self.constants, self.row, outputs)


GROWTHS = ["dense", "activation", "silu", "gelu", "arithmetic", "sqrt", "decision", "where", "gather", "concat"]
GROWTHS += ["shape", "reduction"]


@settings(max_examples=3000 if LONG else 120, deadline=None, derandomize=not LONG)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1,), (4,), (30,), (3, 5), (2, 1, 6)]),
    st.lists(st.sampled_from(GROWTHS), min_size=1, max_size=8),
    st.sampled_from([1, 2, 9]),
    st.sampled_from([0.0, 0.05]),
)
def test_random_graphs_give_what_onnxruntime_gives(seed, row, growths, count, odd):
    random = np.random.default_rng(seed)
    growing = Growing(random, row)
    for growth in ("dense", *growths):
        growing.grow(growth)
    rows = random.normal(size=(count, *row)).astype(np.float32)
    rows = np.where(random.random(rows.shape) < odd, random.choice([np.nan, np.inf, -np.inf], rows.shape), rows)
    require_same(growing.content(), rows.astype(np.float32))


@pytest.mark.parametrize(("content", "row"), small_bundles(), ids=["deep", "imputed", "pictures"])
def test_small_models_give_what_onnxruntime_gives(content, row):
    rows = rows_for(row)
    rows = rows[~(np.isinf(rows) | (np.abs(rows) > 100)).reshape(len(rows), -1).any(axis=1)]
    require_same(content, rows)


def test_a_gelu_behind_a_reshape_keeps_its_shape():
    constants = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        node("Flatten", ["features"], ["x"]),
        node("Div", ["x", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["s"]),
        node("Mul", ["x", "s"], ["m"]),
        node("Mul", ["m", "half"], ["y"]),
    ]
    content = model_of(nodes, constants, [2, 3], [value("y", [6])])
    assert program_of(content, (2, 3)).outputs[0].shape == (6,)
    require_same(content, rows_for((2, 3))[:3])


def test_a_side_of_1_is_repeated_not_its_first_number():
    nodes = [
        node("ReduceSum", ["features", "last"], ["sums"]),
        node("IsNaN", ["features"], ["odd"]),
        node("Where", ["odd", "zero", "sums"], ["y"]),
        node("Gather", ["features", "first"], ["row"], axis=1),
        node("Sub", ["sums", "row"], ["z"]),
    ]
    constants = {"last": np.array([-1]), "zero": np.zeros(1, np.float32), "first": np.array([0])}
    require_same(
        model_of(nodes, constants, [2, 3], [value("y", [2, 3]), value("z", [2, 3])]), rows_for((2, 3))[:3]
    )


def test_the_nearest_prototype_is_the_same():
    """What a detector with prototypes computes: the distance to the nearest, and the differences to it."""
    random = np.random.default_rng(5)
    for count in (1, 15, 16, 17, 100):
        centres = random.normal(size=(count, 9)).astype(np.float32)
        nodes = [
            node("Gemm", ["features", "w", "b"], ["likeness"]),
            node("ReduceMax", ["likeness", "last"], ["largest"], keepdims=0),
            node("ArgMax", ["likeness"], ["nearest"], axis=1, keepdims=0),
            node("Gather", ["centres", "nearest"], ["prototype"]),
            node("Sub", ["features", "prototype"], ["difference"]),
        ]
        constants = {"w": 2 * centres.T, "b": -np.square(centres).sum(axis=1), "centres": centres}
        constants["last"] = np.array([-1])
        content = model_of(nodes, constants, [9], [value("largest", []), value("difference", [9])])
        require_same(content, random.normal(size=(70, 9)).astype(np.float32))


@pytest.mark.parametrize(("twice", "halves"), [(True, False), (False, False), (True, True)])
def test_prototypes_that_stand_in_a_graph_twice_are_kept_once(twice, halves):
    centres = np.random.default_rng(5).normal(size=(17, 9)).astype(np.float32)
    if halves:
        centres = (centres.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    weights = (2 if twice else 1) * centres.T
    nodes = [
        *([node("Cast", ["w"], ["wide"], to=FLOAT)] if halves else []),
        node("MatMul", ["features", "wide" if halves else "w"], ["likeness"]),
        node("ArgMax", ["likeness"], ["nearest"], axis=1, keepdims=0),
        node("Gather", ["centres", "nearest"], ["prototype"]),
    ]

    def content(centres: Any) -> bytes:
        constants = {"w": bfloat16(weights) if halves else weights, "centres": centres}
        return model_of(nodes, constants, [9], [value("prototype", [9])])

    def numbers(content: bytes) -> int:
        program = program_of(content, (9,))
        return len(program.floats) + len(program.halves)

    rows = np.random.default_rng(6).normal(size=(70, 9)).astype(np.float32)
    require_same(content(centres), rows)
    others = centres.copy()
    others[3, 4] += 1  # another matrix: both are needed
    require_same(content(others), rows)
    assert numbers(content(others)) >= numbers(content(centres)) + 9 * 17


def test_a_tail_multiplies_the_small_part_itself_and_gives_the_same_score():
    """With prototypes two products are last: onnxruntime gives the large one, the core computes the small one."""
    random = np.random.default_rng(7)
    nodes = [
        node("Gemm", ["features", "v", "a"], ["hidden"]),
        node("Gemm", ["hidden", "u", "features"], ["residual"]),
        node("Gemm", ["features", "w", "b"], ["likeness"]),
        node("ReduceMax", ["likeness", "last"], ["largest"], keepdims=0),
        node("ReduceSumSquare", ["residual", "last"], ["error"], keepdims=0),
        node("Sub", ["error", "largest"], ["score"]),
    ]
    shapes = {"v": (20, 300), "a": (300,), "u": (300, 20), "w": (20, 40), "b": (40,)}
    constants = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    constants["last"] = np.array([-1])
    content = model_of(nodes, constants, [20], [value("score", [])])
    rows = random.normal(size=(21, 20)).astype(np.float32)
    tail = translate_tail(read_model(content, 64, 20_000), (20,))
    assert tail is not None and (tail.product, tail.begins, tail.multiplied) == ("residual", True, 20 * 40)
    hidden = rows @ constants["v"] + constants["a"]
    found = compiled(core, KIND, tail.program, rows, hidden @ constants["u"])[0]
    assert np.allclose(found[:, 0], on_core(content, rows)[0], rtol=1e-5)
    # Three parts, none of them the larger half: nothing is gained.
    wide = {"w": random.normal(size=(20, 400)), "b": np.zeros(400), "t": random.normal(size=(20, 500))}
    constants |= {name: part.astype(np.float32) for name, part in wide.items()}
    more = [
        node("MatMul", ["features", "t"], ["third"]),
        node("ReduceMax", ["third", "last"], ["most"], keepdims=0),
        node("Sub", ["score", "most"], ["total"]),
    ]
    content = model_of([*nodes, *more], constants, [20], [value("total", [])])
    assert translate_tail(read_model(content, 64, 20_000), (20,)) is None


def test_steps_run_in_the_order_that_takes_less_memory():
    """A wide value is written over by the last step that reads it, so that the others have to come before."""
    nodes = [
        node("MatMul", ["features", "v"], ["hidden"]),
        node("Mul", ["features", "g"], ["scaled"]),
        node("Gemm", ["hidden", "u", "scaled"], ["residual"]),
        node("ReduceSumSquare", ["scaled", "last"], ["square"], keepdims=0),
        node("ReduceSumSquare", ["residual", "last"], ["error"], keepdims=0),
        node("Add", ["error", "square"], ["score"]),
    ]
    constants = {"v": np.ones((100, 30), np.float32), "g": np.ones(100, np.float32)}
    constants |= {"u": np.ones((30, 100), np.float32), "last": np.array([-1])}
    content = model_of(nodes, constants, [100], [value("score", [])])
    assert program_of(content, (100,)).work == 100 + 1 + 30


def test_a_gather_of_one_number_takes_a_side_away():
    content = model_of(
        [node("Gather", ["features", "i"], ["y"], axis=1)], {"i": np.array(1)}, [3], [value("y", [])]
    )
    assert program_of(content, (3,)).outputs[0].shape == ()
    require_same(content, rows_for((3,))[:3])


def test_a_bias_of_a_node_of_its_own_begins_the_sum():
    """docs/core.md: the bits are those of one dense layer with that bias."""
    random = np.random.default_rng(1)
    weights, bias = random.normal(size=(9, 5)).astype(np.float32), random.normal(size=5).astype(np.float32)
    constants = {"w": weights, "b": bias}
    apart = [node("MatMul", ["features", "w"], ["p"]), node("Add", ["b", "p"], ["y"])]
    one = [node("Gemm", ["features", "w", "b"], ["y"])]
    rows = random.normal(size=(3, 9)).astype(np.float32)
    found = [
        specified(program_of(model_of(nodes, constants, [9], [value("y", [5])]), (9,)), rows)[0]
        for nodes in (apart, one)
    ]
    assert np.array_equal(*found)
