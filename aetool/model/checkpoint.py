"""A training result, in memory and as a directory: safetensors and JSON, no pickle."""

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from aetool.bundle.atomic import publish_directory
from aetool.bundle.baseline import FeatureBaseline
from aetool.bundle.files import DEFAULT_LIMITS, read_inside, sha256
from aetool.bundle.manifest import Series
from aetool.bundle.schema import OPTIONAL, REQUIRED, Source, Texts, to_plain
from aetool.errors import CheckpointError, InputError, reason_of
from aetool.model._one_hot import encoded_width, one_hot
from aetool.model._windowed import Windowed, repeated
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig
from aetool.model.pipeline import BLOCK_ROWS, Outputs, Pipeline, evaluate_rows
from aetool.model.prototypes import Prototypes
from aetool.model.statistics import Statistics

FORMAT = "aetool-checkpoint/1"
PROTOTYPES = "prototypes.safetensors"
DESCRIPTION = "checkpoint.json"
WEIGHTS, STATISTICS, HELD_OUT, STATE = (
    f"{name}.safetensors" for name in ("weights", "statistics", "held_out", "state")
)
MAX_BYTES = 8 << 30
_SCORES = ("scores", "others", "row_scores")
_LOSSES = ("train_loss", "validation_loss")
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Figures of the rows that were held out of training."""

    features: NDArray[np.float32]
    """A sample of real rows, (rows, n_features), or windows, (windows, window, n_features), raw units: the golden
    vectors' input."""
    scores: NDArray[np.float64]
    """Scores of all held-out normal rows, ascending."""
    others: NDArray[np.float64] | None = None
    """Scores of the rows trained on, as if they had been held out, ascending; None where enough rows were, or
    without prototypes."""
    row_scores: NDArray[np.float64] | None = None
    """Scores of the rows of held-out stretches of a log, ascending; None where rows stand for themselves, and in
    checkpoints of an older aetool."""

    @property
    def all_scores(self) -> NDArray[np.float64]:
        """Return the scores that a threshold is chosen from, ascending."""
        return self.scores if self.others is None else np.sort(np.concatenate([self.scores, self.others]))


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
    series: Series | None = None
    """How a log becomes windows; None where rows stand for themselves."""
    prototypes: Prototypes | None = None
    """Prototypes of the standardised training rows; None where the score is that of the reconstruction alone, as
    in checkpoints of an older aetool."""

    def __repr__(self) -> str:
        """Return the class and the main figures."""
        best = min((epoch["validation_loss"] for epoch in self.history), default=float("nan"))
        return (
            f"<TrainedAutoencoder: {len(self.names)} features, embedding {self.network.config.embedding_dim}, "
            f"{len(self.history)} epochs, lowest validation loss {best:.4g}>"
        )

    def pipeline(self, dtype: torch.dtype = torch.float32) -> Pipeline:
        """Return a copy of the network between its scaling and its score, in eval mode; float64 is the
        reference. Windows are flat rows to it: see `module`."""
        encoding = one_hot(self.names, self.categories)
        statistics = self.statistics if self.series is None else repeated(self.statistics, self.series.window)
        network = copy.deepcopy(self.network)
        return Pipeline(network, statistics, encoding, self.prototypes).to(dtype).eval()

    def module(self, dtype: torch.dtype = torch.float32) -> Callable[[Tensor], Outputs]:
        """Return what computes every output from rows as a bundle takes them: `pipeline`, of windows too."""
        return self.in_shape(self.pipeline(dtype))

    def in_shape(self, flat: nn.Module) -> nn.Module:
        """Return a pipeline of flat rows as one of windows, where rows are windows."""
        if self.series is None:
            return flat
        return Windowed(flat, self.series.window, len(self.names), holds=self.training.impute == "last").eval()

    def evaluate(
        self, rows: NDArray[np.generic], dtype: torch.dtype = torch.float64
    ) -> dict[str, NDArray[np.float64]]:
        """Return embedding, reconstruction and score of (rows, n_features), computed in PyTorch.

        With categories also `alternative`, see `aetool.model.pipeline.Outputs`.

        Raises:
            InputError: not rows of that many numbers.
        """
        array = np.asarray(rows)
        shape = (len(self.names),) if self.series is None else (self.series.window, len(self.names))
        if array.shape[1:] != shape or array.ndim < 1 or array.dtype.kind not in "biuf":
            columns = ", ".join(self.names[:5]) + ", ..." * (len(self.names) > 5)
            raise InputError(
                f"rows: numbers of shape (rows, {', '.join(map(str, shape))}) expected, found {array.dtype} of "
                f"shape {array.shape}; pick the columns {columns}"
            )
        return evaluate_rows(self.module(dtype), array, dtype, max(1, BLOCK_ROWS // shape[0]))

    def score(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return anomaly scores (rows,), computed in PyTorch, float32."""
        return self.evaluate(rows, torch.float32)["score"]

    def reconstruct(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return reconstructions (rows, n_features), computed in PyTorch, float32, raw units."""
        return self.evaluate(rows, torch.float32)["reconstruction"]


class _Description(NamedTuple):
    """The content of checkpoint.json."""

    format: str
    architecture: AutoencoderConfig
    training: TrainingConfig
    features: Texts
    scores_filled: bool = True
    """See `Statistics`; an older aetool did not say."""
    categories: Annotated[Mapping[str, Texts], OPTIONAL] = _NONE
    history: Annotated[tuple[Mapping[str, float], ...], REQUIRED] = ()
    provenance: Annotated[Mapping[str, Any], REQUIRED] = _NONE
    files: Annotated[Mapping[str, str], REQUIRED] = _NONE
    """Name -> sha256."""
    baseline: tuple[FeatureBaseline, ...] = ()
    series: Annotated[Series | None, OPTIONAL] = None
    unknown: Mapping[str, Any] = _NONE


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
    if trained.prototypes is not None:
        rows, weight = trained.prototypes
        tensors = {"prototypes": torch.from_numpy(rows), "weight": torch.tensor([weight], dtype=torch.float64)}
        files[PROTOTYPES] = save_tensors(tensors)
    description = _Description(
        format=FORMAT,
        architecture=trained.network.config,
        training=trained.training,
        features=trained.names,
        scores_filled=trained.statistics.scores_filled,
        categories=trained.categories or _NONE,
        history=trained.history,
        provenance=trained.provenance,
        files={name: sha256(content) for name, content in files.items()},
        baseline=trained.baseline,
        series=trained.series,
    )
    text = json.dumps(to_plain(description), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    publish_directory(Path(path), {**files, DESCRIPTION: text.encode()}, overwrite=overwrite)


def load_checkpoint(path: str | Path) -> TrainedAutoencoder:
    """Read the checkpoint directory `path`.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged; the message names the file.
    """
    path = Path(path)
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing"
        raise CheckpointError(
            f"{path}: a checkpoint directory was expected, found {what}; make one with aetool train"
        )
    description = _describe(path)
    tensors = {name: _tensors(path, name, description.files) for name in (WEIGHTS, STATISTICS, HELD_OUT, STATE)}
    config, names, training = description.architecture, description.features, description.training
    try:
        prototypes = _prototypes(path, description) if PROTOTYPES in description.files else None
        network = network_from(config, tensors[WEIGHTS])
        statistics = Statistics(
            **{k: v.numpy() for k, v in tensors[STATISTICS].items()}, scores_filled=description.scores_filled
        )
        held_out = HeldOut(**{k: v.numpy() for k, v in tensors[HELD_OUT].items()})
        _require_shapes(config, len(names), statistics, held_out)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its tensors do not fit its {DESCRIPTION} ({reason_of(error, 200)}); train again"
        ) from error
    return TrainedAutoencoder(
        network,
        statistics,
        names,
        training if prototypes is not None else replace(training, score="reconstruction"),
        description.history,
        held_out,
        description.provenance,
        tensors[STATE],
        dict(description.categories),
        description.baseline,
        description.series,
        prototypes,
    )


def _prototypes(path: Path, description: "_Description") -> Prototypes:
    tensors = _tensors(path, PROTOTYPES, description.files)
    found = tensors["prototypes"].numpy()
    width = description.architecture.n_inputs
    if found.ndim != 2 or found.shape[1] != width or not len(found) or found.dtype != np.float32:
        raise ValueError(f"prototypes: float32 (rows, {width}) expected, found {found.dtype} {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("prototypes: finite numbers expected")
    weight = float(tensors["weight"].item()) if "weight" in tensors else 1.0  # there was none once
    if not 0 < weight < math.inf:
        raise ValueError(f"weight of the prototypes: a positive number expected, found {weight}")
    return Prototypes(found, weight)


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


def _describe(path: Path) -> _Description:
    source = Source(str(path / DESCRIPTION), "train again", CheckpointError, strict=True)
    content = source.parse(_read(path, DESCRIPTION, DEFAULT_LIMITS.json_bytes))
    (version,) = source.read_fields(_Description, content, "format")
    if version != FORMAT:
        raise CheckpointError(
            f"{source.where}: format {FORMAT!r} expected, found {version[:40]!r}; train again, or use the aetool "
            "that wrote it"
        )
    description = source.read(_Description, content)
    names, categories = description.features, description.categories
    if categories.keys() - set(names):
        raise source.fault("$.categories", "those of features", [*categories])
    if (width := encoded_width(names, categories)) != description.architecture.n_features:
        raise source.fault("$.features", f"{description.architecture.n_features} in all", width)
    window = None if description.series is None else description.series.window
    if window != description.architecture.window:
        raise source.fault("$.series", f"windows of {description.architecture.window}", window)
    if not description.history or any({*_LOSSES} - epoch.keys() for epoch in description.history):
        raise source.fault("$.history", f"one or more epochs with {' and '.join(_LOSSES)}", description.history)
    if description.baseline and tuple(feature.name for feature in description.baseline) != names:
        raise source.fault("$.baseline", "that of the features", len(description.baseline))
    return description


def _require_shapes(config: AutoencoderConfig, n_columns: int, statistics: Statistics, held_out: HeldOut) -> None:
    row = (n_columns,) if config.window is None else (config.window, n_columns)
    parts = {**_arrays(statistics), **_arrays(held_out)}
    for name, values in parts.items():
        shapes = {"features": (len(values), *row), "fill": (n_columns,)} | dict.fromkeys(_SCORES, (values.size,))
        expected = shapes.get(name, (config.n_features,))
        kind = np.float64 if name in _SCORES else np.float32
        if values.shape != expected or values.dtype != kind:
            raise ValueError(f"{name}: {np.dtype(kind)} {expected} expected, found {values.dtype} {values.shape}")
        if name != "features" and not np.isfinite(values).all():
            raise ValueError(f"{name}: finite numbers expected")
    if not (statistics.scale > 0).all():
        raise ValueError("scale: numbers above 0 expected")
    if len(held_out.features) == 0 or any(np.any(np.diff(parts[name]) < 0) for name in _SCORES if name in parts):
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
