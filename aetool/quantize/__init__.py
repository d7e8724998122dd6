"""Other precisions of a bundle: made from its graphs and real rows, measured, added if they pay off.

Read in this order: `_variant` (`quantize`, from bundle to bundle), `_search` (recipes until one is within the
budget), `_trial` (a recipe made and measured), `_convert` (a recipe to a graph). Below it are the passes on the
graph: `_merge_graphs`, `_layers`, `_calibration`, `_equalise`, and `_int8` or `_half`.
"""

from aetool.choices import PRECISIONS, Calibration, Precision
from aetool.quantize._variant import Quantized, QuantizeOptions, quantize, quantized_copy

__all__ = ["PRECISIONS", "Calibration", "Precision", "QuantizeOptions", "Quantized", "quantize", "quantized_copy"]
