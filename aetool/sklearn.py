"""scikit-learn API: the autoencoder as an estimator, and pipelines of it as bundles."""

import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, TransformerMixin
from sklearn.base import ClassNamePrefixFeaturesOutMixin as NamesOutMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aetool.choices import Activation, DropoutOn
from aetool.errors import InputError
from aetool.export import Exported, ExportOptions, export_checkpoint
from aetool.export.sklearn_pipeline import export_pipeline
from aetool.export.threshold import choose_threshold
from aetool.model import AutoencoderConfig, TrainingConfig, train
from aetool.model.checkpoint import TrainedAutoencoder
from aetool.tables import table_from_columns

Floats = NDArray[np.float64]


__all__ = ["AutoencoderDetector", "export_pipeline"]


class AutoencoderDetector(NamesOutMixin, OutlierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """An autoencoder as outlier detector and transformer.

    Signs are scikit-learn's: `score_samples` and `decision_function` are higher for normal rows, `predict`
    gives 1 for inliers and -1 for outliers.

    Args:
        embedding_dim: width of the embedding; None: chosen for the table.
        hidden_dims: widths of the layers between features and embedding.
        activation, dropout, dropout_on, batch_norm, input_noise: see `aetool.model.AutoencoderConfig`.
        epochs, batch_size, learning_rate, weight_decay, validation_fraction, patience: see
            `aetool.model.TrainingConfig`.
        contamination: share of the training rows that is flagged, above 0 and up to 0.5.
        random_state: seed.

    Attributes:
        trained_: the `TrainedAutoencoder`.
        offset_: `decision_function` is `score_samples - offset_`.
        looks_prepared_: True if the rows look scaled or encoded.
        n_features_in_, feature_names_in_: as in every estimator.
    """

    def __init__(
        self,
        *,
        embedding_dim: int | None = None,
        hidden_dims: tuple[int, ...] = (),
        activation: Activation = "leaky_relu",
        dropout: float = 0.5,
        dropout_on: DropoutOn = "embedding",
        batch_norm: bool = False,
        input_noise: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        validation_fraction: float | None = None,
        patience: int = 10,
        contamination: float = 0.1,
        random_state: Any = 0,
    ) -> None:
        """Keep the parameters; `fit` checks them."""
        self.embedding_dim = embedding_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout = dropout
        self.dropout_on = dropout_on
        self.batch_norm = batch_norm
        self.input_noise = input_noise
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on the rows of X, (rows, n_features); `y` is ignored.

        Raises:
            ValueError: rows or parameters that cannot be used.
        """
        if not 0 < self.contamination <= 0.5:
            raise InputError(f"contamination: expected above 0 and up to 0.5, found {self.contamination}")
        rows: Floats = validate_data(self, X, dtype=np.float64, ensure_min_samples=10)
        default = AutoencoderConfig.for_width(rows.shape[1], len(rows))
        architecture = AutoencoderConfig(
            n_features=rows.shape[1],
            embedding_dim=self.embedding_dim or default.embedding_dim,
            hidden_dims=tuple(self.hidden_dims),
            activation=self.activation,
            dropout=self.dropout,
            dropout_on=self.dropout_on,
            batch_norm=self.batch_norm,
            input_noise=self.input_noise,
        )
        training = TrainingConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            validation_fraction=self.validation_fraction,
            patience=self.patience,
            seed=self._seed(),
        )
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(rows.shape[1])])
        columns = {str(name): column for name, column in zip(names, rows.T, strict=True)}
        self.trained_: TrainedAutoencoder = train(table_from_columns(columns, source="X"), training, architecture)
        # Between two scores that rounding cannot bridge, so that a bundle gives no row another verdict.
        scores = np.sort(self.trained_.evaluate(rows)["score"])
        self.offset_ = -choose_threshold(scores, self.contamination, None).value
        self.looks_prepared_ = _look_prepared(rows, list(columns))
        return self

    def transform(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return embeddings, (rows, embedding_dim)."""
        return self._outputs(X)["embedding"]

    def inverse_transform(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return reconstructions of embeddings, (rows, embedding_dim) -> (rows, n_features), raw units."""
        check_is_fitted(self)
        embedding = np.asarray(X, dtype=np.float64)
        width = self.trained_.network.config.embedding_dim
        if embedding.ndim != 2 or embedding.shape[1] != width:
            raise InputError(f"inverse_transform: expected shape (rows, {width}), found {embedding.shape}")
        pipeline = self.trained_.pipeline(torch.float64)
        with torch.inference_mode():
            decoded = pipeline.network.decode(torch.from_numpy(embedding)).numpy()
        statistics = self.trained_.statistics
        return np.asarray(decoded * statistics.scale + statistics.mean, dtype=np.float64)

    def score_samples(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return the normality of each row, (rows,): minus the anomaly score."""
        return -self._outputs(X)["score"]

    def decision_function(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return `score_samples - offset_`: below 0 for outliers, (rows,)."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:  # noqa: N803
        """Return 1 for inliers, -1 for outliers, (rows,)."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def export(self, path: str | Path, *, overwrite: bool = False) -> Exported:
        """Publish a verified bundle whose `detect` is `predict(...) == -1`.

        The bundle takes the rows that `fit` got: inside a Pipeline, the output of the earlier steps. To export a
        whole Pipeline, use `export_pipeline`; a UserWarning says so if the rows look scaled or encoded.

        Raises:
            VerificationError: the graphs do not compute what was trained; nothing is published.
            OutputError: `path` exists, or cannot be written.
        """
        check_is_fitted(self)
        if self.looks_prepared_:
            warnings.warn(
                "the rows that it was fitted to look scaled or encoded already: the bundle takes such rows. Where "
                "a Pipeline prepared them, export it whole: aetool.sklearn.export_pipeline(pipeline, rows, path)",
                UserWarning,
                stacklevel=2,
            )
        return export_checkpoint(self.trained_, path, ExportOptions(threshold=-self.offset_, overwrite=overwrite))

    @property
    def _n_features_out(self) -> int:
        return int(self.trained_.network.config.embedding_dim)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: NaN is allowed."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _outputs(self, X: ArrayLike) -> dict[str, Floats]:  # noqa: N803
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        return self.trained_.evaluate(rows)


def _look_prepared(rows: Floats, names: list[str]) -> bool:
    """Decide whether all columns look like the output of a scaler or an encoder, and not all are flags."""
    if all("__" in name for name in names):  # as ColumnTransformer names them
        return True
    low, high = rows.min(axis=0), rows.max(axis=0)
    with np.errstate(all="ignore"):
        quartiles = np.percentile(rows, [25, 50, 75], axis=0)
        standard = (np.abs(rows.mean(axis=0)) < 1e-6) & (np.abs(rows.std(axis=0) - 1) < 1e-6)
        robust = (np.abs(quartiles[1]) < 1e-6) & (np.abs(quartiles[2] - quartiles[0] - 1) < 1e-6)
    unit = np.abs(np.maximum(high, -low) - 1) < 1e-6  # of MinMaxScaler, of MaxAbsScaler
    flags = ((rows == 0) | (rows == 1)).all(axis=0)
    prepared = standard | robust | unit | flags | (low == high)
    return bool(prepared.all() and not (flags | (low == high)).all())
