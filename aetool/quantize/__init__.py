"""Other precisions of a bundle: made from its graphs and real rows, measured, added if they pay off.

Read in this order: `variant` (`quantize`, from bundle to bundle), `search` (recipes until one is within the
budget), `trial` (a recipe made and measured), `convert` (a recipe to a graph). Below it are the passes on the
graph: `merge_graphs`, `layers`, `calibration`, `equalise`, and `int8`, `int8_dynamic` or `half`.
"""

from aetool.choices import PRECISIONS, Calibration, Precision
from aetool.quantize.variant import Quantized, QuantizeOptions, quantize, quantized_copy

__all__ = ["PRECISIONS", "Calibration", "Precision", "QuantizeOptions", "Quantized", "quantize", "quantized_copy"]
