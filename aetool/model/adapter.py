"""Any module as an autoencoder: one forward that gives embedding and reconstruction, whatever it returned."""

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

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
        """Read a module; see `aetool.export.ModuleOptions`.

        Raises:
            ExportError: it is no autoencoder, or cannot be copied.
        """
        super().__init__()
        self.module = own_copy(module)
        self.has_embedding = True
        self.as_reference = False
        """Whether the reconstruction is what forward gives, even where the parts could give it."""
        self.in_double = False
        """Whether the embedding is rounded to float32 in the midst of a computation in float64."""
        if latent is not None:
            self._way: Callable[[Tensor], Both] = self._through_mean
            _require_mean(self.module, latent)
            self._require_shapes(sample)
            return
        roles = self._recognise(sample, outputs)
        self._roles = roles
        if roles.embedding is not None:
            self._way = self._through_outputs
            return
        self._encode, self._decode = _part(self.module, encoder, "encode"), _part(self.module, decoder, "decode")
        if self._encode is not None and self._decode is not None and self._parts_agree(sample):
            self._way = self._through_parts
        elif (encoder, decoder) != ("encoder", "decoder"):
            raise ExportError(
                f"--encoder {encoder} --decoder {decoder}: {type(self.module).__name__} has no such parts, or the "
                "one after the other does not give what forward gives; name others, or leave both out"
            )
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
                    "check --input-shape or --data; forward must take the rows alone"
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
        if self.as_reference:  # what the parts must be proven equal to, on every row and in every batch
            return embedding, self._through_outputs(features)[1]
        if self.in_double:  # the decoder then starts from what the encoder gives away
            return embedding.float(), self._decode(embedding.float().double())
        return embedding, self._decode(embedding)

    def _through_mean(self, features: Tensor) -> Both:
        found = named_outputs(self.module.encode(features))  # type: ignore[operator]
        mean = next(iter(found.values()))
        return mean, self.module.decode(mean)  # type: ignore[operator]

    def _require_shapes(self, sample: Tensor) -> None:
        with torch.no_grad():
            try:
                mean, reconstruction = self._through_mean(sample)
                shapes = tuple(mean.shape), tuple(reconstruction.shape)  # type: ignore[union-attr]
            except Exception as error:
                raise ExportError(
                    f"--latent mean: decode(encode(x)[0]) fails on a batch of shape {tuple(sample.shape)} "
                    f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); encode(x) must return "
                    "(mean, log_variance), decode(z) a reconstruction"
                ) from error
        if shapes[1] != sample.shape or shapes[0][:1] != sample.shape[:1]:
            raise ExportError(
                f"--latent mean: for a batch of shape {tuple(sample.shape)} decode gives shape {shapes[1]}, the "
                f"mean has {shapes[0]}; decode must give the shape of the batch"
            )

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
    """A copy on the CPU, in float32 and eval mode, its weights free of parametrizations.

    Raises:
        ExportError: the module cannot be copied, or has no usable weights.
    """
    _require_usable(module)
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if isinstance(module, nn.DataParallel):
        module = module.module
    # What hooks have computed (torch.nn.utils.weight_norm) is no leaf, and deepcopy refuses it: copied beforehand.
    copied = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        own = copy.deepcopy(module, copied).cpu().float().eval()
        _free_of_parametrizations(own)
        return own
    except Exception as error:
        raise ExportError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error}); aetool exports a copy "
            "so that the caller's module stays as it is: make it deepcopy-able"
        ) from error


def _free_of_parametrizations(own: nn.Module) -> None:
    """Put the weights themselves in the place of their parametrizations (weight_norm, spectral_norm, ...).

    Not torch's remove_parametrizations: it changes the class, which a copy shares with the caller's module.
    """
    for part in list(own.modules()):
        if parametrize.is_parametrized(part):
            values = {name: getattr(part, name).detach() for name in part.parametrizations}  # type: ignore[union-attr]
            del part.parametrizations
            part.__class__ = type(part).__bases__[0]
            for name, value in values.items():
                part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _require_usable(module: object) -> None:
    kind = type(module).__name__
    if not isinstance(module, nn.Module):
        found = f"the class {module.__name__}" if isinstance(module, type) else kind
        raise ExportError(f"a torch.nn.Module is expected, found {found}; give an instance")
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportError(f"{kind} is TorchScript, which cannot be exported; give the nn.Module it was made from")
    parameters = dict(module.named_parameters())
    for name, weight in [*parameters.items(), *module.named_buffers()]:
        where = f"{kind}: weight {name!r}"
        if nn.parameter.is_lazy(weight):
            raise ExportError(f"{where} has no shape yet; run the module, load its weights, then export")
        if weight.is_meta:
            raise ExportError(f"{where} is on the meta device, without numbers; load the weights first")
        if not weight.is_floating_point():
            continue
        # A buffer may be a mask of -inf.
        if bool(weight.isnan().any()) or (name in parameters and bool(weight.isinf().any())):
            raise ExportError(f"{where} holds NaN or infinity; train again with a lower learning rate")


def _part(module: nn.Module, name: str, method: str) -> Callable[[Tensor], Any] | None:
    for attribute in (name, method):
        try:
            found = operator.attrgetter(attribute)(module)
        except AttributeError:
            continue
        if callable(found):
            part: Callable[[Tensor], Any] = found
            return part
    return None


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
