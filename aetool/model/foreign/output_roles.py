"""The roles of a module's outputs: embedding and reconstruction."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aetool.errors import ExportError

RECONSTRUCTION_NAMES = frozenset(
    {"reconstruction", "reconstructed", "recon", "x_recon", "recon_x", "x_hat", "xhat", "x_rec", "rec", "decoded"}
    | {"reconstructions", "output", "outputs", "out", "sample", "logits"}
)
_EMBEDDING_NAMES = frozenset(
    {"embedding", "embeddings", "latent", "latents", "z", "code", "codes", "encoded", "encoding", "bottleneck"}
    | {"hidden", "h", "features", "representation", "z_mean", "mu", "mean"}
)


@dataclass(frozen=True, slots=True)
class Roles:
    """Keys of a module's outputs; see `named_outputs`."""

    reconstruction: str
    embedding: str | None = None


def named_outputs(outputs: Any) -> dict[str, Tensor]:
    """Return a module's outputs by name: fields of a dict, a dataclass or a named tuple; "0", "1", ... of a
    tuple.

    Raises:
        ExportError: something else than tensors, or nothing.
    """
    if isinstance(outputs, Tensor):
        return {"0": outputs}
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        fields: Mapping[str, Any] = {f.name: getattr(outputs, f.name) for f in dataclasses.fields(outputs)}
    elif isinstance(outputs, Mapping):
        fields = {str(key): value for key, value in outputs.items()}
    elif isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        fields = dict(zip(outputs._fields, outputs, strict=True))
    elif isinstance(outputs, Sequence) and not isinstance(outputs, str):
        fields = {str(index): value for index, value in enumerate(outputs)}
    else:
        raise ExportError(
            f"forward returns {type(outputs).__name__}; a tensor is expected, or a tuple, dict or dataclass "
            "of tensors"
        )
    tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ExportError(f"forward returns no tensor, found {', '.join(fields) or 'nothing'}; return the outputs")
    return tensors


def recognise(outputs: Mapping[str, Tensor], features: Tensor, given: Sequence[str] = ()) -> Roles:
    """Find the roles of `outputs` (see `named_outputs`) for `features`, (batch, ...).

    The reconstruction has the shape of the features, or where none has, as many numbers in a row; the embedding
    is what else has the batch in front. Names decide where shapes leave a choice, and `given` decides everything:
    a word for each output in order, such as ("embedding", "reconstruction"), or ROLE=NAME for named ones.

    Raises:
        ExportError: no output can be the reconstruction, or several can.
    """
    roles = _given(outputs, given)
    shaped = {name: value for name, value in outputs.items() if value.shape == features.shape}
    copies = [name for name, value in shaped.items() if bool((value == features).all())]
    if len(copies) < len(shaped):  # the input given back is no reconstruction
        shaped = {name: value for name, value in shaped.items() if name not in copies}
    shaped = shaped or {name: value for name, value in outputs.items() if _as_many_numbers(value, features)}
    found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in outputs.items())
    reconstruction = roles.get("reconstruction")
    if reconstruction is not None and reconstruction not in shaped:
        raise ExportError(
            f"output {reconstruction!r} was named the reconstruction, shape {tuple(features.shape)} expected; "
            f"found {found}; name another with --outputs"
        )
    embedding = roles.get("embedding")
    if reconstruction is None:
        reconstruction = _only(
            [name for name in shaped if name != embedding], RECONSTRUCTION_NAMES, _EMBEDDING_NAMES
        )
    if reconstruction is None:
        state = "none has" if not shaped else f"{len(shaped)} have"
        remedy = (
            "name the outputs with --outputs, as in --outputs embedding,reconstruction"
            if shaped
            else _other_sizes(outputs, features)
        )
        raise ExportError(
            f"an output of the features' shape {tuple(features.shape)} is expected as reconstruction, {state} it: "
            f"{found}; {remedy}"
        )
    if embedding is None and not given:
        embedding = _only(beside(outputs, reconstruction, features), _EMBEDDING_NAMES, RECONSTRUCTION_NAMES)
    return Roles(reconstruction, embedding)


def beside(outputs: Mapping[str, Tensor], reconstruction: str, features: Tensor) -> list[str]:
    """Name the outputs that may be an embedding: what else has the batch in front and numbers in each row."""
    return [
        name
        for name, value in outputs.items()
        if name != reconstruction and value.ndim >= 2 and len(value) == len(features) and 0 not in value.shape
    ]


def _as_many_numbers(value: Tensor, features: Tensor) -> bool:
    """Return True if each row of `value` holds as many numbers as one of `features`, in another shape."""
    rows, numbers = len(features), math.prod(features.shape[1:])
    return value.ndim >= 2 and len(value) == rows and math.prod(value.shape[1:]) == numbers


def _other_sizes(outputs: Mapping[str, Tensor], features: Tensor) -> str:
    """Return advice where no output is as large as the features."""
    for name, value in outputs.items():
        axes = [axis for axis in range(1, value.ndim) if value.ndim == features.ndim]
        other = [axis for axis in axes if value.shape[axis] != features.shape[axis]]
        if other and len(other) < len(axes) and len(value) == len(features):
            sizes = " and ".join(
                f"{value.shape[axis]} where the input has {features.shape[axis]}" for axis in other
            )
            return (
                f"output {name} is {sizes}: strides and paddings on the way down and up do not cancel; set "
                "output_padding, crop in forward, or give rows whose size is a multiple of the strides"
            )
    return "is this an autoencoder, or its encoder alone? Its forward must return the reconstruction"


def _given(outputs: Mapping[str, Tensor], given: Sequence[str]) -> dict[str, str]:
    names = list(outputs)
    roles: dict[str, str] = {}
    for index, word in enumerate(given):
        role, _, name = word.partition("=")
        name = name or (names[index] if index < len(names) else "")
        if role in ("", "-", "_"):
            continue
        if role not in ("embedding", "reconstruction") or name not in outputs:
            raise ExportError(
                f"--outputs: {word!r} does not fit; expected embedding, reconstruction or - for each of the "
                f"outputs {', '.join(names)}, or ROLE=NAME"
            )
        roles[role] = name
    if given and "reconstruction" not in roles:
        raise ExportError(
            f"--outputs {','.join(given)}: names no reconstruction; the outputs are {', '.join(names)}"
        )
    return roles


def _only(names: Sequence[str], wanted: frozenset[str], unwanted: frozenset[str]) -> str | None:
    """Return the one name left, by number or by word."""
    if len(names) == 1:
        return names[0]
    likely = [name for name in names if name.lower() in wanted]
    likely = likely or [name for name in names if name.lower() not in unwanted]
    return likely[0] if len(likely) == 1 else None
