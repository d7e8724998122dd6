"""Values that options take, for the command line and for modules that are slow to import, such as PyTorch's."""

from typing import Literal, get_args

Activation = Literal["leaky_relu", "relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
DropoutOn = Literal["embedding", "hidden", "both"]
Score = Literal["mse", "mae", "euclidean"]
ScoreBy = Literal["prototypes", "reconstruction"]
"""What a trained model's score measures: the distance to the reconstruction and the nearest prototype, or to the
reconstruction alone."""
Precision = Literal["int8", "int8-dynamic", "fp16", "bf16"]
Calibration = Literal["minmax", "percentile", "entropy"]
Engine = Literal["core", "onnxruntime"]

Architecture = Literal["dense", "conv", "gru"]
"""Layers between the input and the embedding; the last two take windows alone."""

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
Constant = Literal["score", "ignore"]
"""A change in a column that never changed in training: it counts in the score, or it does not."""
CONSTANT: tuple[Constant, ...] = get_args(Constant)
DROPOUT_ON: tuple[DropoutOn, ...] = get_args(DropoutOn)
SCORES: tuple[Score, ...] = get_args(Score)
SCORES_BY: tuple[ScoreBy, ...] = get_args(ScoreBy)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
ENGINES: tuple[Engine, ...] = get_args(Engine)
"""What computes where a bundle is deployed."""
SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
"""Loads of a benchmark, as in MLPerf LoadGen."""
PEERS = ("raw-onnxruntime", "torch", "torch-compile", "openvino")
"""What a benchmark measures beside a bundle."""
CALLS = {"encode": "encoder", "reconstruct": "autoencoder", "score": "detector"}
"""Call of a model -> the graph that answers it."""
