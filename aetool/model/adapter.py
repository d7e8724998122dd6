"""Any module as an autoencoder: one forward that gives embedding and reconstruction, whatever it returned."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from aetool.errors import ExportError
from aetool.model.roles import Roles, named_outputs, recognise

Latent = Literal["mean"]
Both = tuple[Tensor | None, Tensor]
SAME = 1e-6
"""Relative difference below which two ways through a module count as one."""


class AdaptedModule(nn.Module):
    """(batch, ...) -> (embedding or None, reconstruction), from a copy of the caller's module.

    The copy is on the CPU, in eval mode and float32; the caller's module is not touched.
    """

    def __init__(
        self,
        module: nn.Module,
        sample: Tensor,
        *,
        outputs: Sequence[str] = (),
        encoder: str = "encoder",
        decoder: str = "decoder",
        latent: Latent | None = None,
    ) -> None:
        """See `adapt`."""
        super().__init__()
        self.module = own_copy(module)
        self.has_embedding = True
        if latent is not None:
            self._way: Callable[[Tensor], Both] = self._through_mean
            _require_mean(self.module, latent)
            return
        roles = self._recognise(sample, outputs)
        self._roles = roles
        if roles.embedding is not None:
            self._way = self._through_outputs
            return
        self._encode, self._decode = _part(self.module, encoder, "encode"), _part(self.module, decoder, "decode")
        if self._encode is not None and self._decode is not None and self._parts_agree(sample):
            self._way = self._through_parts
        else:
            self._way = self._through_outputs
            self.has_embedding = False

    def forward(self, features: Tensor) -> Both:
        """(batch, ...) -> embedding (batch, ...) or None, reconstruction (batch, ...)."""
        return self._way(features)

    def _recognise(self, sample: Tensor, given: Sequence[str]) -> Roles:
        with torch.no_grad():
            try:
                found = self.module(sample)
            except Exception as error:
                raise ExportError(
                    f"{type(self.module).__name__} fails on a batch of shape {tuple(sample.shape)} "
                    f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
                    "check --input-shape or --data"
                ) from error
        return recognise(named_outputs(found), sample, given)

    def _through_outputs(self, features: Tensor) -> Both:
        outputs = named_outputs(self.module(features))
        embedding = None if self._roles.embedding is None else outputs[self._roles.embedding]
        return embedding, outputs[self._roles.reconstruction]

    def _through_parts(self, features: Tensor) -> Both:
        assert self._encode is not None
        assert self._decode is not None
        embedding = self._encode(features)
        return embedding, self._decode(embedding)

    def _through_mean(self, features: Tensor) -> Both:
        mean, _ = self.module.encode(features)  # type: ignore[operator]
        return mean, self.module.decode(mean)  # type: ignore[operator]

    def _parts_agree(self, sample: Tensor) -> bool:
        """Whether decoder(encoder(x)) is what the module itself gives."""
        with torch.no_grad():
            try:
                embedding, reconstruction = self._through_parts(sample)
            except Exception:  # noqa: BLE001 - parts that do not fit together are no parts
                return False
            _, expected = self._through_outputs(sample)
        if not isinstance(embedding, Tensor) or not isinstance(reconstruction, Tensor):
            return False
        if reconstruction.shape != expected.shape:
            return False
        spread = float(expected.abs().max())
        return bool((reconstruction - expected).abs().max() <= SAME * max(spread, 1e-30))


def own_copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU, in float32 and eval mode.

    Raises:
        ExportError: the module cannot be copied.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if isinstance(module, nn.DataParallel):
        module = module.module
    try:
        return copy.deepcopy(module).cpu().float().eval()
    except Exception as error:
        raise ExportError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error}); aetool exports a copy "
            "so that the caller's module stays as it is: make it deepcopy-able"
        ) from error


def _part(module: nn.Module, name: str, method: str) -> Callable[[Tensor], Any] | None:
    found = getattr(module, name, None)
    if not callable(found):
        found = getattr(module, method, None)
    return found if callable(found) else None


def _require_mean(module: nn.Module, latent: str) -> None:
    if latent not in get_args(Latent):
        raise ExportError(f"--latent: expected mean, found {latent!r}")
    if not has_mean(module):
        raise ExportError(
            f"--latent mean: {type(module).__name__} needs methods encode(x) -> (mean, log_variance) and decode(z)"
        )


def has_mean(module: nn.Module) -> bool:
    """Whether a module has the methods of a common variational autoencoder."""
    return callable(getattr(module, "encode", None)) and callable(getattr(module, "decode", None))
