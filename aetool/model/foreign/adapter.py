"""`AdaptedModule`: any module as an autoencoder with one forward that gives embedding and reconstruction."""

import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aetool.errors import ExportError, reason_of
from aetool.model.foreign.output_roles import Roles, beside, named_outputs, recognise

Latent = Literal["mean"]
Both = tuple[Tensor | None, Tensor]
SAME, SAME_IN_DOUBLE = 1e-6, 1e-9
"""Relative differences, in float32 and float64, below which two ways through a module count as one."""


class AdaptedModule(nn.Module):
    """(batch, ...) -> (embedding or None, reconstruction), from a copy of the caller's module.

    The copy is on the CPU, in eval mode and float32; the caller's module is not touched. The reconstruction is
    what its forward gives. The embedding is one of forward's outputs, or what an encoder gives where forward is
    decoder(encoder(x)) on every row that was tried.
    """

    def __init__(
        self,
        module: nn.Module,
        sample: Tensor,
        *,
        outputs: Sequence[str] = (),
        encoder: str | None = None,
        decoder: str | None = None,
        latent: Latent | None = None,
        others: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Read a module; see `aetool.export.ModuleOptions`.

        Args:
            module: the user's module.
            sample: (batch, ...) real rows.
            outputs: roles of forward's outputs.
            encoder: name of the part that encodes.
            decoder: name of the part that decodes.
            latent: choice among the outputs of an encoder with several.
            others: name -> rows of other kinds that forward must be decoder(encoder(x)) on, where it takes them.

        Raises:
            ExportError: it is no autoencoder, or cannot be copied.
        """
        super().__init__()
        self.module = own_copy(module)
        self.has_embedding = True
        self.notes: tuple[str, ...] = _rounded_weights(module)
        """Notes for the user, a sentence each."""
        self.as_reference = False
        """True if the reconstruction must come from forward, even where the parts could give it."""
        self.in_double = False
        """True if the embedding is rounded to float32 in a computation in float64."""
        if latent is not None:
            self._way: Callable[[Tensor], Both] = self._through_mean
            _require_mean(self.module, latent)
            self._require_shapes(sample)
            return
        self._roles, beside = self._recognise(sample, outputs)
        self._way = self._through_outputs
        if self._roles.embedding is not None:
            return
        named = encoder is not None or decoder is not None
        self._encode = _part(self.module, encoder or "encoder", "encode")
        self._decode = _part(self.module, decoder or "decoder", "decode")
        if outputs and not named:  # none of the outputs named is an embedding: none is wanted
            self.has_embedding = False
            return
        ways = f"{decoder or 'decoder'}({encoder or 'encoder'}(x))"
        lost = self._parts_differ({"real": sample, **others}, ways)
        if lost is None:
            self._way = self._through_parts
        elif encoder is not None and decoder is None and isinstance(self._encode, nn.Module):
            self._way = self._through_inside
            self._require_inside(sample, encoder)
        elif named:
            raise ExportError(
                f"--encoder {encoder or 'encoder'} --decoder {decoder or 'decoder'}: {lost}; name others, "
                "--encoder alone for what it gives inside forward, or leave both out"
            )
        else:
            self.has_embedding = False
            self.notes += (self._no_embedding(lost, sample, beside),)

    def forward(self, features: Tensor) -> Both:
        """Map (batch, ...) -> embedding (batch, ...) or None, reconstruction (batch, ...)."""
        return self._way(features)

    def _recognise(self, sample: Tensor, given: Sequence[str]) -> tuple[Roles, list[str]]:
        """Return the roles of forward's outputs, and further outputs that may be an embedding."""
        kind = type(self.module).__name__
        with torch.no_grad():
            try:
                found = named_outputs(self.module(sample))
            except ExportError:
                raise
            except Exception as error:
                raise ExportError(
                    f"{kind} fails on a batch of shape {tuple(sample.shape)} "
                    f"({type(error).__name__}: {reason_of(error, 200)}); " + _remedy_of(self.module, error)
                ) from error
        roles = recognise(found, sample, given)
        empty = [name for name, value in found.items() if 0 in value.shape[1:]]
        if empty:
            self.notes += (f"left out: output {', '.join(empty)}, which is empty",)
        shape = tuple(found[roles.reconstruction].shape[1:])
        if shape != tuple(sample.shape[1:]):
            self.notes += (
                f"the reconstruction, output {roles.reconstruction} of shape {shape}, is read as rows of shape "
                f"{tuple(sample.shape[1:])}: same numbers, same order",
            )
        return roles, beside(found, roles.reconstruction, sample)

    def _through_outputs(self, features: Tensor) -> Both:
        outputs = named_outputs(self.module(features))
        embedding = None if self._roles.embedding is None else outputs[self._roles.embedding]
        return embedding, _as_rows(outputs[self._roles.reconstruction], features)

    def _through_parts(self, features: Tensor) -> Both:
        assert self._encode is not None
        assert self._decode is not None
        embedding = self._encode(features)
        if self.as_reference:  # what the parts must be proven equal to, on every row and in every batch
            return embedding, self._through_outputs(features)[1]
        if self.in_double:  # the decoder then starts from what the encoder gives away
            embedding = embedding.float()
            return embedding, _as_rows(self._decode(embedding.double()), features)
        return embedding, _as_rows(self._decode(embedding), features)

    def _through_inside(self, features: Tensor) -> Both:
        """Return the outputs, with the embedding that the encoder gives inside forward."""
        assert isinstance(self._encode, nn.Module)
        given: list[Tensor] = []
        handle = self._encode.register_forward_hook(lambda _part, _rows, output: given.append(output))
        try:
            _, reconstruction = self._through_outputs(features)
        finally:
            handle.remove()
        return given[-1] if len(given) == 1 else None, reconstruction

    def _through_mean(self, features: Tensor) -> Both:
        found = named_outputs(self.module.encode(features))  # type: ignore[operator]
        mean = next(iter(found.values()))
        return mean, _as_rows(self.module.decode(mean), features)  # type: ignore[operator]

    def _require_inside(self, sample: Tensor, encoder: str) -> None:
        if not self._gives_inside(sample):
            raise ExportError(
                f"--encoder {encoder}: inside forward it must be called once and give one tensor, the batch in "
                "front; name another part, or let forward return (embedding, reconstruction)"
            )

    def _gives_inside(self, sample: Tensor) -> bool:
        """Return True if the encoder, called by forward, gives one tensor with the batch in front."""
        with torch.no_grad():
            embedding, _ = self._through_inside(sample)
        return isinstance(embedding, Tensor) and embedding.ndim >= 2 and len(embedding) == len(sample)

    def _no_embedding(self, lost: str, sample: Tensor, beside: Sequence[str]) -> str:
        """Return the reason why there is no encoder, and advice."""
        unwanted = "--outputs reconstruction says that none is wanted"
        if beside:
            return (
                f"no embedding: output {' or '.join(beside)} may be the embedding; name it, such as --outputs "
                f"reconstruction={self._roles.reconstruction},embedding={beside[0]}"
            )
        if isinstance(self._encode, nn.Module) and self._gives_inside(sample):
            return f"no embedding: {lost}; --encoder encoder takes what it gives inside forward, {unwanted}"
        if self._encode is not None:
            return f"no embedding: {lost}; let forward return (embedding, reconstruction); {unwanted}"
        return (
            "no embedding: forward returns the reconstruction alone; name its parts with --encoder and --decoder; "
            + unwanted
        )

    def _require_shapes(self, sample: Tensor) -> None:
        with torch.no_grad():
            try:
                mean = next(iter(named_outputs(self.module.encode(sample)).values()))  # type: ignore[operator]
                shapes = tuple(mean.shape), tuple(self.module.decode(mean).shape)  # type: ignore[operator]
            except Exception as error:
                raise ExportError(
                    f"--latent mean: decode(encode(x)[0]) fails on a batch of shape {tuple(sample.shape)} "
                    f"({type(error).__name__}: {reason_of(error, 200)}); encode(x) must return "
                    "(mean, log_variance), decode(z) a reconstruction"
                ) from error
        if (
            math.prod(shapes[1]) != sample.numel()
            or shapes[1][:1] != sample.shape[:1]
            or shapes[0][:1] != sample.shape[:1]
        ):
            raise ExportError(
                f"--latent mean: for a batch of shape {tuple(sample.shape)} decode gives shape {shapes[1]}, the "
                f"mean has {shapes[0]}; decode must give the shape of the batch"
            )

    def _parts_differ(self, batches: Mapping[str, Tensor], ways: str) -> str | None:
        """Return why decoder(encoder(x)), called `ways`, cannot stand for forward; None if it gives the same."""
        if self._encode is None or self._decode is None:
            return f"{type(self.module).__name__} has no parts for {ways}"
        double = copy.deepcopy(self).double()
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.float64)
            return double._difference(batches, ways, torch.float64, SAME_IN_DOUBLE)
        except _NotInDoubleError:
            torch.set_default_dtype(before)
            return self._difference(batches, ways, torch.float32, SAME)
        finally:
            torch.set_default_dtype(before)

    def _difference(self, batches: Mapping[str, Tensor], ways: str, dtype: torch.dtype, same: float) -> str | None:
        for name, batch in batches.items():
            rows = batch.to(dtype)
            with torch.no_grad():
                try:
                    _, expected = self._through_outputs(rows)
                except Exception as error:
                    if name == "real":  # it took these in float32
                        raise _NotInDoubleError from error
                    continue  # forward does not take such rows
                try:
                    embedding, reconstruction = self._through_parts(rows)
                    if not isinstance(embedding, Tensor) or not isinstance(reconstruction, Tensor):
                        return f"{ways} gives no single tensors"
                except Exception as error:  # noqa: BLE001 - parts that do not fit together are no parts
                    return f"{ways} fails ({reason_of(error, 120)})"
            if reconstruction.shape != expected.shape or not _equal(reconstruction, expected, same):
                return f"{ways} is not what forward gives on {name} rows"
        return None


class _NotInDoubleError(Exception):
    """A module that makes float32 tensors of its own."""


def _as_rows(values: Tensor, features: Tensor) -> Tensor:
    """Reshape each row's numbers like the features."""
    return values if values.shape == features.shape else values.reshape(features.shape)


def _equal(found: Tensor, expected: Tensor, same: float) -> bool:
    """Return True if the same numbers are finite, and differ by at most `same` times the largest of their row."""
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return False
    size = torch.where(finite, expected, 0.0).abs().flatten(1).amax(1)
    difference = torch.where(finite, (found - expected).abs(), 0.0).flatten(1).amax(1)
    return bool((difference <= same * size.clamp(min=1e-30)).all())


def _remedy_of(module: nn.Module, error: Exception) -> str:
    if "indices" in str(error) and any(isinstance(part, nn.Embedding) for part in module.modules()):
        return (
            "its nn.Embedding takes whole numbers, and rows are float32: begin forward with "
            "x = x.nan_to_num().long().clamp(0, NUMBER_OF_IDS - 1)"
        )
    if "dtype" in str(error) or "scalar type" in str(error):
        return (
            "rows and weights are float32 in a bundle, whatever the module's own weights are: leave casts such as "
            ".bfloat16(), .half() and .double() out of forward"
        )
    return "check --input-shape or --data; forward must take the rows alone"


def _rounded_weights(module: nn.Module) -> tuple[str, ...]:
    """Return a note if the module computes in 16 bits itself."""
    halves = {value.dtype for value in module.parameters()} & {torch.bfloat16, torch.float16}
    names = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in halves))
    return (f"its weights are {names}: exported in float32, without the rounding of {names}",) if halves else ()


def own_copy(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float32 and eval mode, its weights free of parametrizations.

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
    """Return True if a module has the methods of a common variational autoencoder."""
    return callable(getattr(module, "encode", None)) and callable(getattr(module, "decode", None))
