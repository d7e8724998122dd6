"""Safety checks of a graph, on the bytes of an ONNX file, before onnxruntime parses them.

Read in this order: `_protobuf` (bytes to fields), `model` (fields to nodes and constants), `_shape_inputs`,
`_shapes` and `_image_shapes` (the shape of every value), `_constants` (numbers that sizes are computed from),
`_memory` (how much is held at one time), `dangers` (nodes that crash onnxruntime), `check` (all of it). `edit`
changes outputs, threshold and metadata; `build` writes small graphs.

Other rooms use `check.require_admissible` and `check.refusal`, and the modules `model`, `edit` and `build`;
nothing is imported here, since a bundle that is opened without checks needs none of it.
"""

__all__ = ["build", "check", "dangers", "edit", "model"]
