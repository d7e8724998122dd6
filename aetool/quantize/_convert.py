"""From a recipe to a graph: the precision, its calibration, and the layers that stay in float."""

import copy
from dataclasses import dataclass

from onnx import ModelProto, TensorProto

from aetool.choices import Calibration, Precision
from aetool.errors import ExportError
from aetool.quantize._calibration import Floats, observe, range_of
from aetool.quantize._equalise import first_layers, to_common_range
from aetool.quantize._half import to_bf16, to_fp16
from aetool.quantize._int8 import integer_layers, to_int8, to_int8_dynamic, values_to_observe
from aetool.quantize._layers import layers_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """A precision, its calibration, and the layers that stay in float."""

    precision: Precision
    calibration: Calibration = "minmax"
    in_float: tuple[str, ...] = ()
    """Names of layers."""

    def __str__(self) -> str:
        """Return the recipe in words."""
        parts = [f"calibration {self.calibration}"] if self.precision == "int8" else []
        parts += [f"{', '.join(self.in_float)} in float"] if self.in_float else []
        return "; ".join(parts) or "all layers"


class Converter:
    """Makes graphs by recipes from one graph in float and the same rows."""

    def __init__(self, model: ModelProto, rows: Floats) -> None:
        """Prepare conversions of a model.

        Args:
            model: see `whole_graph`; not changed.
            rows: normal rows to calibrate with, (rows, ...).
        """
        self._model, self._rows = model, rows
        self._prepared: dict[Calibration, tuple[ModelProto, dict[str, Floats]]] = {}

    def layers(self, precision: Precision) -> list[str]:
        """Return the names of the layers that a precision changes.

        Raises:
            ExportError: there are none.
        """
        found = integer_layers(self._model) if precision == "int8" else layers_of(self._model)
        if precision == "int8-dynamic":
            found = [layer for layer in found if layer.kind != "Conv"]
        if not found:
            kinds = sorted({node.op_type for node in self._model.graph.node})
            doubles = any(tensor.data_type == TensorProto.DOUBLE for tensor in self._model.graph.initializer)
            why = (
                "the graphs compute in float64, since float32 could not hold the small errors of this model"
                if doubles
                else f"no product with constant float32 weights found (nodes: {', '.join(kinds)})"
            )
            raise ExportError(f"{precision}: {why}, so there is nothing to change; keep fp32")
        return list(dict.fromkeys(layer.name for layer in found))

    def convert(self, recipe: Recipe) -> ModelProto:
        """Return the graph of a recipe."""
        if recipe.precision == "bf16":
            model = copy.deepcopy(self._model)
            to_bf16(model, recipe.in_float)
            return model
        prepared, values = self._prepare(recipe.calibration)
        model = copy.deepcopy(prepared)
        if recipe.precision == "int8":
            ranges = {name: range_of(values[name], recipe.calibration) for name in values_to_observe(model)}
            to_int8(model, ranges, recipe.in_float)
        elif recipe.precision == "int8-dynamic":
            to_int8_dynamic(model, recipe.in_float)
        else:
            to_fp16(model, recipe.in_float)
        return model

    def _prepare(self, calibration: Calibration) -> tuple[ModelProto, dict[str, Floats]]:
        """Return the graph with its columns in a common range, and the values inside it."""
        if calibration not in self._prepared:
            model = copy.deepcopy(self._model)
            columns = {layer.source for layer in first_layers(model)}
            to_common_range(model, observe(model, columns, self._rows), calibration)
            self._prepared = {calibration: (model, observe(model, values_to_observe(model), self._rows))}
        return self._prepared[calibration]
