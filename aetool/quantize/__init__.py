"""Other precisions of a bundle: made from its graphs and real rows, measured, added if they pay off."""

from aetool.quantize.calibration import Calibration
from aetool.quantize.convert import PRECISIONS, Precision
from aetool.quantize.variant import Quantized, QuantizeOptions, quantize, quantized_copy

__all__ = ["PRECISIONS", "Calibration", "Precision", "QuantizeOptions", "Quantized", "quantize", "quantized_copy"]
