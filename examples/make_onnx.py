"""Make examples/plain.onnx: an ONNX file that knows nothing of aetool, 30-8-30, for `aetool adopt`.

python examples/make_onnx.py
"""

from pathlib import Path

import onnx
import torch
from torch import nn


def main() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, 30)).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(network, (torch.randn(2, 30),), dynamo=True, dynamic_shapes=shapes)
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # the exporter notes there where on this machine the source lies
        del node.metadata_props[:]
    onnx.save(model, Path(__file__).with_name("plain.onnx"))


if __name__ == "__main__":
    main()
