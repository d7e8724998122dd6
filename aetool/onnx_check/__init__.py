"""Safety checks of a graph, on the bytes of an ONNX file, before onnxruntime parses them.

Read in this order: `protobuf` (bytes to fields), `model` (fields to nodes and constants), `shape_inputs`, `shapes`
and `image_shapes` (the shape of every value), `constants` (numbers that sizes are computed from), `memory` (how
much is held at one time), `dangers` (nodes that crash onnxruntime), `check` (all of it). `edit` adds and removes
outputs.

Other rooms use `check.require_admissible` and `check.refusal`, and the modules `protobuf`, `model` and `edit`;
nothing is imported here, since a bundle that is opened without checks needs none of it.
"""
