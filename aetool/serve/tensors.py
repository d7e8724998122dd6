"""What goes into a served model and what comes out, in the protocol's words."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

DATATYPES = {"f4": "FP32", "f8": "FP64", "f2": "FP16", "b1": "BOOL", "i8": "INT64", "i4": "INT32"}
"""numpy's kind and size -> the protocol's datatype."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    datatype: str
    row_shape: tuple[int, ...]
    """Without the batch axis."""

    @property
    def metadata(self) -> dict[str, Any]:
        """As in the model's metadata; -1 is any number of rows."""
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.row_shape]}


@dataclass(frozen=True, slots=True)
class Signature:
    input: Tensor
    outputs: tuple[Tensor, ...]
    output_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "output_names", tuple(output.name for output in self.outputs))


def tensor_of(name: str, rows: Any) -> Tensor:
    """The tensor that `rows`, (rows, ...), are an example of."""
    return Tensor(name, datatype_of(rows.dtype), rows.shape[1:])


def datatype_of(dtype: np.dtype[Any]) -> str:
    """In the protocol's words."""
    return DATATYPES[dtype.str[1:]]
