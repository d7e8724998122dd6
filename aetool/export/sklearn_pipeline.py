"""`export_pipeline`: make a bundle of a fitted scikit-learn Pipeline that ends in an autoencoder."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from aetool.bundle.baseline import features_of
from aetool.bundle.golden import evenly
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export._checkpoint import export_checkpoint
from aetool.export.publish import Exported, ExportOptions
from aetool.model.checkpoint import TrainedAutoencoder
from aetool.model.statistics import Statistics
from aetool.runtime.categories import as_text, to_indexes

SUPPORTED = (
    "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, SimpleImputer, OneHotEncoder, ColumnTransformer "
    "and Pipeline of these"
)
GOLDEN_ROWS = 256
TOLERANCE = 1e-4
"""Relative difference allowed between the pipeline's scores and the bundle's definition, both in float64."""
MISSING = "(missing)"
"""Name of the category that a missing value is, where the encoder made it one."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column on its way through the steps: (raw - offset) / scale, or whether raw is a category."""

    source: int
    """Position of the raw column."""
    offset: float = 0.0
    scale: float = 1.0
    fill: Any = None
    """Replacement of a missing raw value; None for none."""
    category: int | None = None
    """Index among the raw column's categories."""
    categories: tuple[str, ...] = ()
    """Categories of the raw column, where it was encoded."""

    def scaled(self, offset: float, scale: float) -> "Column":
        """Return the column after (value - offset) / scale."""
        return replace(self, offset=self.offset + self.scale * float(offset), scale=self.scale * float(scale))

    @property
    def is_raw(self) -> bool:
        """Return True if no step has changed the column's values."""
        return self.category is None and (self.offset, self.scale) == (0.0, 1.0)


def export_pipeline(pipeline: Pipeline, rows: Any, path: str | Path, *, overwrite: bool = False) -> Exported:
    """Publish a bundle of a fitted Pipeline that ends in an `AutoencoderDetector`: raw rows in, its scores out.

    Scalers, imputers and encoders become part of the graph; `detect` is `pipeline.predict(...) == -1`.

    Args:
        pipeline: a fitted Pipeline.
        rows: real rows as the pipeline takes them, a DataFrame or an array: they are compared, and some become
            golden vectors.
        path: the bundle's directory.
        overwrite: replace an existing bundle.

    Raises:
        ExportError: a step that cannot become part of the graph; the message names it.
        VerificationError: the bundle would not score as the pipeline does; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    *steps, (_, detector) = getattr(pipeline, "steps", None) or [("", None)]
    trained = getattr(detector, "trained_", None)
    if not isinstance(trained, TrainedAutoencoder):
        raise ExportError(
            f"{type(pipeline).__name__}: a fitted Pipeline whose last step is an AutoencoderDetector is expected; "
            "call fit first"
        )
    names = [str(name) for name in getattr(pipeline, "feature_names_in_", [])]
    shape, expected = np.shape(rows), getattr(pipeline, "n_features_in_", None)
    if len(shape) != 2 or shape[1] != (shape[1] if expected is None else expected):
        raise InputError(
            f"rows: expected (rows, {expected or 'columns'}), as the pipeline was fitted to, found {shape}; give "
            "rows with those columns"
        )
    names = names or [f"x{i}" for i in range(shape[1])]
    columns = [Column(place) for place in range(len(names))]
    for name, step in steps:
        columns = _after(step, columns, names, name)
    used, order = _in_order(columns, names, trained)
    categories = _categories(columns, names)
    _require_codes_are_indexes(pipeline, rows, categories)
    matrix = _matrix(rows, used, names, categories)
    if len(matrix) == 0:
        raise InputError("rows: expected one or more rows, found none; give those that the pipeline was fitted to")
    converted = _converted(
        trained, columns, used, order, names, matrix, [type(step).__name__ for _, step in steps]
    )
    _require_equal(pipeline, rows, converted, matrix, used)
    options = ExportOptions(threshold=-detector.offset_, overwrite=overwrite)
    return export_checkpoint(converted, path, options)


def _after(step: Any, columns: list[Column], names: Sequence[str], called: str) -> list[Column]:
    """Return the columns that a fitted step makes of those given; `called` is the step's name, for messages."""
    kind = type(step)
    if step is None or step == "passthrough" or (kind is FunctionTransformer and step.func is None):
        return columns
    if kind is Pipeline:
        for name, inner in step.steps:
            columns = _after(inner, columns, names, f"{called}, step {name}")
        return columns
    if (made := _BY_KIND.get(kind)) is not None:
        return made(step, columns, names, called)
    if (scaling := _scaling(step, len(columns), called)) is None:
        raise ExportError(
            f"step {called!r}: {kind.__name__} cannot become part of the graph; supported are {SUPPORTED}; apply "
            "it to the rows before they reach the pipeline, and export the rest"
        )
    return [column.scaled(*pair) for column, pair in zip(columns, scaling, strict=True)]


def _scaling(step: Any, count: int, called: str) -> list[tuple[float, float]] | None:
    """Return (offset, scale) of each column for (value - offset) / scale; None for an unknown scaler."""
    kind = type(step)
    offset, scale = np.zeros(count), np.ones(count)
    if kind in (StandardScaler, RobustScaler):
        centre = step.mean_ if kind is StandardScaler else step.center_
        centred = step.with_mean if kind is StandardScaler else step.with_centering
        offset = centre if centred and centre is not None else offset
        scale = step.scale_ if step.scale_ is not None else scale
    elif kind is MinMaxScaler:
        if step.clip:
            raise ExportError(f"step {called!r}: MinMaxScaler with clip=True cannot become part of the graph")
        offset, scale = -step.min_ / step.scale_, 1 / step.scale_
    elif kind is MaxAbsScaler:
        if getattr(step, "clip", False):
            raise ExportError(f"step {called!r}: MaxAbsScaler with clip=True cannot become part of the graph")
        scale = step.scale_
    else:
        return None
    return list(zip(offset.tolist(), scale.tolist(), strict=True))


def _transformed(
    step: ColumnTransformer, columns: list[Column], names: Sequence[str], called: str
) -> list[Column]:
    known = [str(name) for name in getattr(step, "feature_names_in_", [])]
    made: list[Column] = []
    for name, inner, chosen in step.transformers_:
        places = _places(chosen, known, len(columns))
        if places and not (isinstance(inner, str) and inner == "drop"):
            made += _after(inner, [columns[place] for place in places], names, f"{called}, {name}")
    return made


def _places(chosen: Any, names: Sequence[str], count: int) -> list[int]:
    """Return the positions of the columns that a ColumnTransformer selects."""
    if isinstance(chosen, slice):
        start, stop = (names.index(end) if isinstance(end, str) else end for end in (chosen.start, chosen.stop))
        last = stop + 1 if isinstance(chosen.stop, str) else stop  # a slice of names holds its end
        return list(range(count))[start : last : chosen.step]
    listed = np.atleast_1d(np.asarray(chosen, dtype=object)).tolist()
    if listed and all(isinstance(one, bool | np.bool_) for one in listed):
        return [place for place, taken in enumerate(listed) if taken]
    return [names.index(one) if isinstance(one, str) else range(count)[int(one)] for one in listed]


def _imputed(step: SimpleImputer, columns: list[Column], _: Sequence[str], called: str) -> list[Column]:
    wanted = step.missing_values
    if step.add_indicator or not (wanted is None or (isinstance(wanted, float) and np.isnan(wanted))):
        raise ExportError(
            f"step {called!r}: SimpleImputer with add_indicator, or with other missing values than NaN, cannot "
            "become part of the graph"
        )
    made = []
    for column, value in zip(columns, step.statistics_, strict=True):
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
        if is_number and np.isnan(value):
            raise ExportError(
                f"step {called!r}: a column without any value, which SimpleImputer leaves out; drop it from the "
                "rows"
            )
        raw = column.offset + column.scale * float(value) if is_number and not column.is_raw else value
        made.append(
            column if column.fill is not None or column.category is not None else replace(column, fill=raw)
        )
    return made


def _encoded(step: OneHotEncoder, columns: list[Column], names: Sequence[str], called: str) -> list[Column]:
    infrequent = getattr(step, "infrequent_categories_", None) or []
    if step.drop is not None or any(found is not None for found in infrequent):
        raise ExportError(
            f"step {called!r}: OneHotEncoder with drop, or with infrequent categories, cannot become part of the "
            "graph"
        )
    made = []
    for column, values in zip(columns, step.categories_, strict=True):
        texts = [as_text(value) or MISSING for value in values.tolist()]
        if not column.is_raw or len(set(texts)) < len(texts):
            raise ExportError(
                f"step {called!r}: column {names[column.source]!r} must reach OneHotEncoder as it is, its "
                f"categories distinct as text; found {', '.join(texts[:5])}"
            )
        fill = column.fill
        fill = MISSING if fill is None and MISSING in texts else fill
        made += [
            replace(column, fill=fill, category=index, categories=tuple(texts)) for index in range(len(texts))
        ]
    return made


_BY_KIND = {ColumnTransformer: _transformed, SimpleImputer: _imputed, OneHotEncoder: _encoded}


def _in_order(
    columns: Sequence[Column], names: Sequence[str], trained: TrainedAutoencoder
) -> tuple[list[int], list[int]]:
    """Return the raw columns that are used, and the order of the network's columns that matches theirs.

    Raises:
        ExportError: a raw column is used twice, or in part.
    """
    if len(columns) != len(trained.names):
        raise ExportError(
            f"the steps make {len(columns)} columns, the autoencoder was fitted to {len(trained.names)}; fit again"
        )
    used = sorted({column.source for column in columns})
    order: list[int] = []
    for source in used:
        own = [place for place, column in enumerate(columns) if column.source == source]
        kinds = sorted((columns[place].category is not None, columns[place].category or 0) for place in own)
        wanted = [(True, index) for index in range(len(columns[own[0]].categories))] or [(False, 0)]
        if kinds != wanted:
            raise ExportError(
                f"column {names[source]!r} is used twice, or in part, by the steps; the graph takes each once"
            )
        order += sorted(own, key=lambda place: columns[place].category or 0)
    return used, order


def _categories(columns: Sequence[Column], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {names[column.source]: column.categories for column in columns if column.categories}


def _converted(
    trained: TrainedAutoencoder,
    columns: Sequence[Column],
    used: Sequence[int],
    order: Sequence[int],
    names: Sequence[str],
    matrix: NDArray[np.float64],
    steps: Sequence[str],
) -> TrainedAutoencoder:
    """Return the autoencoder for raw columns: its own scaling and the steps' in one, its weights reordered."""
    placed = [columns[place] for place in order]
    own = trained.statistics
    mean = np.array([c.offset + c.scale * float(own.mean[place]) for c, place in zip(placed, order, strict=True)])
    scale = np.array([c.scale * float(own.scale[place]) for c, place in zip(placed, order, strict=True)])
    categories = _categories(columns, names)
    held = tuple(names[source] for source in used)
    kept = ("rows_trained", "rows_held_out", "validation_loss_of_mean", "interrupted", "device", "torch")
    near = trained.prototypes
    return replace(
        trained,
        network=_reordered(trained.network, order),
        prototypes=None if near is None else near._replace(rows=near.rows[:, list(order)]),
        # float64: what two scalings become in one, float32 would round.
        statistics=Statistics(mean, scale, _fill(placed, used, categories, names), scores_filled=True),  # type: ignore[arg-type]
        names=held,
        categories=categories,
        held_out=replace(trained.held_out, features=matrix[evenly(len(matrix), GOLDEN_ROWS)].astype(np.float32)),
        provenance={
            **{key: trained.provenance[key] for key in kept if key in trained.provenance},
            "data": "a scikit-learn Pipeline",
            "steps": list(steps),
        },
        state={},
        baseline=features_of(matrix, held, categories),
    )


def _fill(
    placed: Sequence[Column], used: Sequence[int], categories: dict[str, tuple[str, ...]], names: Sequence[str]
) -> NDArray[np.float64] | None:
    """Return the replacement of a missing value per raw column, NaN for none; None if no column has one."""
    fills = {column.source: column.fill for column in placed}
    if all(fill is None for fill in fills.values()):
        return None
    made = []
    for source in used:
        texts, fill = categories.get(names[source]), fills[source]
        if texts is None:
            made.append(np.nan if fill is None else float(fill))
        else:
            text = fill if fill == MISSING else as_text(fill)
            made.append(float(texts.index(text)) if text in texts else -1.0)
    return np.array(made)


def _reordered(network: nn.Module, order: Sequence[int]) -> Any:
    """Return a copy whose first layer takes, and whose last gives, the columns in another order."""
    made: Any = copy.deepcopy(network)
    linear = [part for part in made.modules() if isinstance(part, nn.Linear)]
    first, last, places = linear[0], linear[-1], torch.tensor(list(order))
    with torch.no_grad():
        first.weight.copy_(first.weight[:, places].clone())
        last.weight.copy_(last.weight[places].clone())
        last.bias.copy_(last.bias[places].clone())
    return made


def _matrix(
    rows: Any, used: Sequence[int], names: Sequence[str], categories: dict[str, tuple[str, ...]]
) -> NDArray[np.float64]:
    """Return rows as the bundle takes them: numbers, and indexes of categories."""
    made = [
        to_indexes(cells, categories[names[source]], names[source])
        if names[source] in categories
        else np.asarray(cells, np.float64)
        for source, cells in ((source, _cells(rows, source)) for source in used)
    ]
    return np.stack(made, axis=1)


def _cells(rows: Any, place: int) -> Any:
    """Return one column of a DataFrame or of an array."""
    return rows.iloc[:, place] if hasattr(rows, "iloc") else np.asarray(rows)[:, place]


def _require_codes_are_indexes(pipeline: Pipeline, rows: Any, categories: dict[str, tuple[str, ...]]) -> None:
    """Refuse codes in an array: a bundle would take them for indexes of categories, without a word."""
    array = np.asarray(rows) if not hasattr(pipeline, "feature_names_in_") else None
    if array is None or array.dtype.kind not in "biuf":
        return
    for name, texts in categories.items():
        if texts != tuple(map(str, range(len(texts)))):
            raise ExportError(
                f"column {name!r} holds codes ({', '.join(texts[:5])}), and an array of rows holds indexes of "
                "categories where a bundle takes it; fit the pipeline to a DataFrame, so that columns go by name"
            )


def _require_equal(
    pipeline: Pipeline,
    rows: Any,
    converted: TrainedAutoencoder,
    matrix: NDArray[np.float64],
    used: Sequence[int],
) -> None:
    """Raise unless the pipeline's own scores, on rows rounded to float32, equal those of the converted
    autoencoder."""
    held: Any = rows.copy() if hasattr(rows, "iloc") else np.array(rows)
    for place, name in zip(used, converted.names, strict=True):
        if name in converted.categories:
            continue
        cells = np.asarray(_cells(rows, place), np.float64).astype(np.float32).astype(np.float64)
        if hasattr(held, "iloc"):
            held = held.assign(**{held.columns[place]: cells})
        elif held.dtype.kind in "fO":
            held[:, place] = cells
    expected = -np.asarray(pipeline.score_samples(held), np.float64)
    found = converted.evaluate(matrix)["score"]
    with np.errstate(all="ignore"):
        difference = np.abs(found - expected) / np.abs(expected)
    worst = int(np.argmax(np.nan_to_num(difference, nan=np.inf)))
    if not difference[worst] <= TOLERANCE:
        raise VerificationError(
            f"the pipeline scores row {worst} {expected[worst]:.6g}, its steps inside a graph {found[worst]:.6g}; "
            f"{SUPPORTED} of scikit-learn 1.6 or later are known"
        )
