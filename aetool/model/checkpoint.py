"""A training result, in memory and as a directory: safetensors and JSON, no pickle."""

import copy
import json
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from aetool.bundle.atomic import publish_directory
from aetool.bundle.baseline import FeatureBaseline
from aetool.bundle.files import DEFAULT_LIMITS, read_inside, sha256
from aetool.bundle.schema import loads
from aetool.errors import CheckpointError, InputError, reason_of
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig
from aetool.model.one_hot import encoded_width, one_hot
from aetool.model.pipeline import Pipeline, evaluate_rows
from aetool.model.statistics import Statistics

FORMAT = "aetool-checkpoint/1"
DESCRIPTION = "checkpoint.json"
WEIGHTS, STATISTICS, HELD_OUT, STATE = (
    f"{name}.safetensors" for name in ("weights", "statistics", "held_out", "state")
)
MAX_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Figures of the rows that were held out of training."""

    features: NDArray[np.float32]
    """A sample of real rows, (rows, n_features), raw units: the golden vectors' input."""
    scores: NDArray[np.float64]
    """Scores of all held-out normal rows, ascending: the threshold comes from them."""


@dataclass(frozen=True, slots=True, repr=False)
class TrainedAutoencoder:
    """A trained network with everything that its export and its resumption need."""

    network: Autoencoder
    """The network in eval mode, on the CPU, float32."""
    statistics: Statistics
    names: tuple[str, ...]
    """Feature columns, in order."""
    training: TrainingConfig
    history: tuple[Mapping[str, float], ...]
    """One entry per epoch: train_loss, validation_loss."""
    held_out: HeldOut
    provenance: Mapping[str, Any]
    """Source of the data, its fingerprint, row counts."""
    state: Mapping[str, Tensor] = field(default_factory=dict)
    """State at the end of training, to resume from."""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories of the features that have any; such a feature is the index of its category, -1 for any other
    value."""
    baseline: tuple[FeatureBaseline, ...] = ()
    """Statistics of the training rows; empty in checkpoints of an older aetool."""

    def __repr__(self) -> str:
        """Return the class and the main figures."""
        best = min((epoch["validation_loss"] for epoch in self.history), default=float("nan"))
        return (
            f"<TrainedAutoencoder: {len(self.names)} features, embedding {self.network.config.embedding_dim}, "
            f"{len(self.history)} epochs, lowest validation loss {best:.4g}>"
        )

    def pipeline(self, dtype: torch.dtype = torch.float32) -> Pipeline:
        """Return a copy of the network between its scaling and its score, in eval mode; float64 is the
        reference."""
        encoding = one_hot(self.names, self.categories)
        return Pipeline(copy.deepcopy(self.network), self.statistics, encoding).to(dtype).eval()

    def evaluate(
        self, rows: NDArray[np.generic], dtype: torch.dtype = torch.float64
    ) -> dict[str, NDArray[np.float64]]:
        """Return embedding, reconstruction and score of (rows, n_features), computed in PyTorch.

        With categories also `alternative`, see `aetool.model.pipeline.Outputs`.

        Raises:
            InputError: not rows of that many numbers.
        """
        found = np.asarray(rows)
        if found.ndim != 2 or found.shape[1] != len(self.names) or found.dtype.kind not in "biuf":
            raise InputError(
                f"rows: numbers of shape (rows, {len(self.names)}) expected, found {found.dtype} of shape "
                f"{found.shape}; pick the columns {', '.join(self.names[:5])}{', ...' * (len(self.names) > 5)}"
            )
        return evaluate_rows(self.pipeline(dtype), found, dtype)

    def score(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return anomaly scores (rows,), computed in PyTorch, float32."""
        return self.evaluate(rows, torch.float32)["score"]

    def reconstruct(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return reconstructions (rows, n_features), computed in PyTorch, float32, raw units."""
        return self.evaluate(rows, torch.float32)["reconstruction"]


def save_checkpoint(trained: TrainedAutoencoder, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `trained` as the directory `path`, in one step.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or the disk refuses.
    """
    statistics = {k: torch.from_numpy(v) for k, v in _arrays(trained.statistics).items()}
    held_out = {k: torch.from_numpy(v) for k, v in _arrays(trained.held_out).items()}
    files = {
        WEIGHTS: save_tensors(trained.network.state_dict()),
        STATISTICS: save_tensors(statistics),
        HELD_OUT: save_tensors(held_out),
        STATE: save_tensors(dict(trained.state)),
    }
    description = {
        "format": FORMAT,
        "architecture": asdict(trained.network.config),
        "training": asdict(trained.training),
        "features": list(trained.names),
        "scores_filled": trained.statistics.scores_filled,
        **({"categories": {k: list(v) for k, v in trained.categories.items()}} if trained.categories else {}),
        "history": [dict(epoch) for epoch in trained.history],
        "provenance": dict(trained.provenance),
        "files": {name: sha256(content) for name, content in files.items()},
        "baseline": [asdict(feature) for feature in trained.baseline],
    }
    text = json.dumps(description, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    publish_directory(Path(path), {**files, DESCRIPTION: text.encode()}, overwrite=overwrite)


def load_checkpoint(path: str | Path) -> TrainedAutoencoder:
    """Read the checkpoint directory `path`.

    Raises:
        CheckpointError: no checkpoint there, or a damaged one; the message names the file.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise CheckpointError(
            f"{path}: a checkpoint directory was expected, found {found}; make one with aetool train"
        )
    config, training, names, scores_filled, categories, history, provenance, digests, baseline = _describe(path)
    tensors = {name: _tensors(path, name, digests) for name in (WEIGHTS, STATISTICS, HELD_OUT, STATE)}
    try:
        network = network_from(config, tensors[WEIGHTS])
        statistics = Statistics(
            **{k: v.numpy() for k, v in tensors[STATISTICS].items()}, scores_filled=scores_filled
        )
        held_out = HeldOut(**{k: v.numpy() for k, v in tensors[HELD_OUT].items()})
        _require_shapes(config.n_features, len(names), statistics, held_out)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its tensors do not fit its {DESCRIPTION} ({reason_of(error, 200)}); train again"
        ) from error
    return TrainedAutoencoder(
        network, statistics, names, training, history, held_out, provenance, tensors[STATE], categories, baseline
    )


def network_from(config: AutoencoderConfig, weights: Mapping[str, Tensor]) -> Autoencoder:
    """Return the network of `config` with these float32 weights, in eval mode; they are shared, not copied.

    Raises:
        ValueError, RuntimeError: weights are missing, too many, or of another shape or type.
    """
    # On "meta" nothing is allocated or drawn: the caller's random state stays as it was.
    with torch.device("meta"):
        network = Autoencoder(config).float()
    wanted = {name: value.dtype for name, value in network.state_dict().items()}
    odd = [name for name, value in weights.items() if value.dtype != wanted.get(name, value.dtype)]
    if odd:
        raise ValueError(f"{', '.join(odd)}: float32 expected")
    network.load_state_dict({name: value.cpu() for name, value in weights.items()}, assign=True)
    return network.eval()


_Description = tuple[
    AutoencoderConfig,
    TrainingConfig,
    tuple[str, ...],
    bool,
    dict[str, tuple[str, ...]],
    tuple[dict[str, float], ...],
    dict[str, Any],
    dict[str, Any],
    tuple[FeatureBaseline, ...],
]


def _describe(path: Path) -> _Description:
    """Parse checkpoint.json, in the order of _Description."""
    where = path / DESCRIPTION
    try:
        description = loads(_read(path, DESCRIPTION, DEFAULT_LIMITS.json_bytes))
        if description["format"] != FORMAT:
            raise CheckpointError(
                f"{where}: format {FORMAT!r} expected, found {reprlib.repr(description['format'])}; "
                "train again, or use the aetool that wrote it"
            )
        config = AutoencoderConfig(**description["architecture"])
        training = TrainingConfig(**description["training"])
        names = tuple(description["features"])
        if not all(isinstance(name, str) and name.encode() for name in names) or len(set(names)) != len(names):
            raise ValueError("features must be distinct names")
        categories = {name: tuple(texts) for name, texts in description.get("categories", {}).items()}
        for name, texts in categories.items():
            if name not in names or not texts or len({str(text) for text in texts if text}) != len(texts):
                raise ValueError(f"categories of {name!r} must be distinct texts of a feature")
        if (width := encoded_width(names, categories)) != config.n_features:
            raise ValueError(f"{config.n_features} features expected, found {width}")
        history = tuple(
            {loss: _finite(epoch[loss]) for loss in ("train_loss", "validation_loss")}
            for epoch in description["history"]
        )
        if not history:
            raise ValueError("history holds no epoch")
        provenance, files = dict(description["provenance"]), dict(description["files"])
        baseline = tuple(map(_feature, description.get("baseline", [])))
        if baseline and tuple(feature.name for feature in baseline) != names:
            raise ValueError("baseline must be of the features")
        scores_filled = description.get("scores_filled", True)  # as an older aetool scored
        if not isinstance(scores_filled, bool):
            raise TypeError("scores_filled must be true or false")
        return config, training, names, scores_filled, categories, history, provenance, files, baseline
    except InputError as error:
        raise CheckpointError(f"{where}: {error}; train again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{where}: not the description of a checkpoint ({type(error).__name__}: {reason_of(error, 200)}); "
            "train again"
        ) from error


def _feature(content: dict[str, Any]) -> FeatureBaseline:
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    return FeatureBaseline(**given)


def _finite(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"a finite number expected, found {reprlib.repr(value)}")
    return float(value)


def _require_shapes(n_encoded: int, n_columns: int, statistics: Statistics, held_out: HeldOut) -> None:
    parts = {**_arrays(statistics), **_arrays(held_out)}
    for name, values in parts.items():
        shapes = {"features": (len(values), n_columns), "scores": (values.size,), "fill": (n_columns,)}
        expected = shapes.get(name, (n_encoded,))
        kind = np.float64 if name == "scores" else np.float32
        if values.shape != expected or values.dtype != kind:
            raise ValueError(f"{name}: {np.dtype(kind)} {expected} expected, found {values.dtype} {values.shape}")
        if name != "features" and not np.isfinite(values).all():
            raise ValueError(f"{name}: finite numbers expected")
    if not (statistics.scale > 0).all():
        raise ValueError("scale: numbers above 0 expected")
    if len(held_out.features) == 0 or np.any(np.diff(held_out.scores) < 0):
        raise ValueError("held-out rows expected, and their scores ascending")


def _arrays(record: Statistics | HeldOut) -> dict[str, NDArray[Any]]:
    return {key: value for key, value in asdict(record).items() if isinstance(value, np.ndarray)}


def _read(path: Path, name: str, most: int = MAX_BYTES) -> bytes:
    try:
        return read_inside(path, name, most)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path / name}: missing; {path} is not a checkpoint, train again") from error
    except OSError as error:
        raise CheckpointError(f"{path / name}: cannot be read: {error.strerror or error}") from error


def _tensors(path: Path, name: str, digests: Mapping[str, str]) -> dict[str, Tensor]:
    data = _read(path, name)
    if sha256(data) != digests.get(name):
        raise CheckpointError(f"{path / name}: was changed or truncated since training; train again")
    try:
        return load_tensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path / name}: not a safetensors file ({error}); train again") from error
