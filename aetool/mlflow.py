"""MLflow: bundles as logged models, with a pyfunc that scores. Needs the extra `mlflow`.

    import aetool.mlflow
    with mlflow.start_run():
        logged = aetool.mlflow.log_model("exported/machines", name="machines")
    model = aetool.mlflow.load_model(logged.model_uri)          # AutoencoderSession
    mlflow.pyfunc.load_model(logged.model_uri).predict(rows)    # score and is_anomaly of each row

The bundle travels byte by byte, signatures included; what MLflow calls a model is a directory around it.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import Manifest
from aetool.errors import DependencyError, OutputError
from aetool.runtime.session import AutoencoderSession, load
from aetool.version import __version__

try:
    from mlflow.models import Model, ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.pyfunc import add_to_model
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from pandas import DataFrame
except ImportError as error:
    raise DependencyError("mlflow", "mlflow", "a bundle in MLflow") from error

FLAVOR_NAME = "aetool"
_DATA = "bundle"
_EXAMPLE_ROWS = 5


def get_default_pip_requirements() -> list[str]:
    """Return the packages that a logged bundle needs."""
    return [f"aetool=={__version__}", "numpy", "onnxruntime>=1.28"]


def save_model(
    bundle: str | Path,
    path: str | Path,
    mlflow_model: Any = None,
    *,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Save a bundle as a model of MLflow.

    Args:
        bundle: the bundle's directory.
        path: directory to write.
        mlflow_model: the `mlflow.models.Model` that it belongs to; None for a new one.
        signature: an `mlflow.models.ModelSignature`; by default the columns of the bundle.
        input_example: rows; by default golden rows of the bundle.
        pip_requirements: packages that it needs.
        metadata: entries for the model's metadata, besides the bundle's.

    Raises:
        BundleError: the bundle is not whole.
        OutputError: `path` exists.
    """
    opened = Bundle.open_whole(bundle)
    folder = Path(path)
    if folder.exists():
        raise OutputError(f"{folder}: exists already; choose another name")
    folder.mkdir(parents=True)
    shutil.copytree(opened.path, folder / _DATA)
    manifest = opened.manifest
    model = Model() if mlflow_model is None else mlflow_model
    model.signature = _signature(manifest) if signature is None else signature
    example = _example(opened) if input_example is None else input_example
    _save_example(model, example, str(folder))
    model.metadata = {
        **(model.metadata or {}),
        **(metadata or {}),
        "aetool": {"bundle_id": manifest.id, "name": manifest.name, "precisions": sorted(manifest.variants)},
    }
    add_to_model(model, loader_module="aetool.mlflow", data=_DATA)
    model.add_flavor(FLAVOR_NAME, aetool_version=__version__, data=_DATA, bundle_id=manifest.id)
    requirements = get_default_pip_requirements() if pip_requirements is None else pip_requirements
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    model.save(str(folder / "MLmodel"))


def log_model(bundle: str | Path, name: str = "model", **options: Any) -> Any:
    """Log a bundle to the active run, or to a new one.

    Args:
        bundle: the bundle's directory.
        name: name of the logged model.
        options: those of `save_model`, and of `mlflow.models.Model.log`, such as `registered_model_name`.

    Returns:
        The `mlflow.models.model.ModelInfo`.

    Raises:
        BundleError: the bundle is not whole.
    """
    return Model.log(artifact_path=None, name=name, flavor=_Flavor, bundle=str(bundle), **options)


def load_model(model_uri: str, dst_path: str | None = None, **options: Any) -> AutoencoderSession:
    """Open the bundle of a logged model.

    Args:
        model_uri: such as `models:/machines/3` or `runs:/RUN/model`.
        dst_path: directory to download to; a temporary one by default.
        options: those of `aetool.load`.

    Raises:
        BundleError: it is damaged.
    """
    found = Path(_download_artifact_from_uri(artifact_uri=model_uri, output_path=dst_path))
    return load(found / _DATA, **options)


class _Flavor:
    """What `Model.log` asks for: a module by MLflow's habit."""

    save_model = staticmethod(save_model)


def _signature(manifest: Manifest) -> Any:
    """Return the columns of a table, or the shape of other rows; and what the pyfunc returns."""
    if manifest.features:
        texts = manifest.categories
        inputs = Schema(
            [
                ColSpec(DataType.string if feature in texts else DataType.double, feature)
                for feature in manifest.feature_names
            ]
        )
    else:
        inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *manifest.input_shape), "features")])
    outputs = Schema([ColSpec(DataType.float, "score"), ColSpec(DataType.boolean, "is_anomaly")])
    return ModelSignature(inputs=inputs, outputs=outputs)


def _example(bundle: Bundle) -> Any:
    """Return the first golden rows, as the signature wants them."""
    rows = read_golden(bundle)["features"][:_EXAMPLE_ROWS]
    if not bundle.manifest.features:
        return {"features": rows.astype(np.float32)}
    with load(bundle.path) as model:
        return DataFrame(
            {
                name: column if column.dtype.kind in "UO" else column.astype(np.float64)
                for name, column in model.to_columns(rows).items()
            }
        )


class _Scorer:
    """The pyfunc: rows to a table of score and is_anomaly."""

    def __init__(self, model: AutoencoderSession) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Return the score and the decision of each row."""
        rows = (
            model_input["features"] if isinstance(model_input, dict) and "features" in model_input else model_input
        )
        score = self._model.score(rows)
        return DataFrame({"score": score, "is_anomaly": ~(score <= self._model.threshold)})


def _load_pyfunc(path: str) -> _Scorer:
    """Open a bundle for `mlflow.pyfunc.load_model`."""
    return _Scorer(load(path))
