"""Somebody else's module: its class or function in a Python file, its weights in another."""

import pickle
import re
import sys
import traceback
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from aetool.errors import ExportError, InputError

STATE_DICTS = ("state_dict", "model_state_dict")
"""Keys under which checkpoints hold the weights among other things."""
COMPILED, PARALLEL = "_orig_mod.", "module."
"""What torch.compile and DataParallel put in front of the names of weights."""
_SHOWN = 3  # names in a message

State = dict[str, Tensor]


def load_module(spec: str, weights: str | Path | None = None) -> nn.Module:
    """The module of FILE.py:CALLABLE, with the weights of a file where one is given.

    The file runs as code. CALLABLE is a class of modules or a function that gives one, called without
    arguments, or a module.

    Raises:
        InputError: no such file, or nothing of that name in it.
        ExportError: the file fails, gives no module, or the weights are not the module's.
    """
    file, _, name = spec.rpartition(":")
    if not file or not name.isidentifier():
        raise InputError(f"{spec}: FILE.py:CALLABLE is expected, such as net.py:Autoencoder")
    path = Path(file)
    with _running(path, name):
        found = _execute(path)
        if not hasattr(found, name):
            offered = ", ".join(_offered(found)) or "nothing that could be one"
            raise InputError(f"{path}: has no {name!r}; it has {offered}: give one of them after the colon")
        module = getattr(found, name)
        if not isinstance(module, nn.Module) and callable(module):
            module = module()
    if not isinstance(module, nn.Module):
        raise ExportError(
            f"{path}: {name} gives {type(module).__name__}, a torch.nn.Module is expected; name its class, or a "
            "function that returns it"
        )
    if weights is not None:
        set_weights(module, read_weights(weights), str(weights))
    return module


def read_weights(path: str | Path) -> State:
    """The tensors of a .safetensors file or of a torch state dict; nothing else is unpickled.

    Raises:
        InputError: no such file.
        ExportError: it holds more than tensors, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .safetensors file or a state dict saved by torch.save")
    if path.suffix == ".safetensors":
        try:
            return load_tensors(path.read_bytes())
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path}: not a sound safetensors file ({error}); save or fetch it again") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{path}: refused, it holds more than weights ({_what_is_unsafe(error)}), and loading it could run "
            "code; where you trust it, save the weights alone: torch.save(model.state_dict(), ...) or safetensors"
        ) from error
    except Exception as error:
        raise ExportError(
            f"{path}: not a state dict that torch can read ({_one_line(error)}); save it again with "
            "torch.save(model.state_dict(), ...)"
        ) from error
    return _tensors(found, path)


def set_weights(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Give `module` the weights of `state`, all of them and no others.

    Raises:
        ExportError: names or shapes differ; the message names them.
    """
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, nn.DataParallel):
        module = module.module
    own = module.state_dict()
    state = _without_prefixes(state, own)
    kind = type(module).__name__
    faults = [
        *_named("lacks", [name for name in own if name not in state]),
        *_named("has, beside them,", [name for name in state if name not in own]),
        *_named(
            "has other shapes in",
            [
                f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
                for name in own
                if name in state and _shape(state[name]) != _shape(own[name])
            ],
        ),
    ]
    if faults:
        raise ExportError(
            f"{source}: the {len(own)} weights of {kind} are expected; the file {'; it '.join(faults)}: make the "
            "module with the settings it was trained with"
        )
    try:
        module.load_state_dict(dict(state))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"{source}: {kind} refuses the weights: {_one_line(error)}; check the file") from error


def _execute(path: Path) -> types.ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give FILE.py:CALLABLE") from error
    # In sys.modules, where dataclasses and pickle look for it; compiled here, so that no cache is written.
    made = types.ModuleType(f"_aetool_user_{path.stem}")
    made.__file__ = str(path)
    sys.modules[made.__name__] = made
    exec(compile(source, str(path), "exec"), made.__dict__)
    return made


@contextmanager
def _running(path: Path, name: str) -> Iterator[None]:
    """Around the user's code: what lies beside the file can be imported, and its errors name their line."""
    folder = str(path.absolute().parent)
    sys.path.insert(0, folder)
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise ExportError(
            f"{path}{_line_in(path, error)}: fails ({_one_line(error)}); aetool runs the file and calls {name}(): "
            "give a function without arguments, and keep training under if __name__ == '__main__'"
        ) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _line_in(path: Path, error: BaseException) -> str:
    """`, line 3`: where the user's file failed, if it was there."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _offered(found: types.ModuleType) -> list[str]:
    """Names of what the file itself makes and could be a module."""
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == found.__name__)
    ]


def _tensors(found: Any, path: Path) -> State:
    for key in STATE_DICTS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise ExportError(
            f"{path}: a state dict is expected, found {type(found).__name__}; save model.state_dict()"
        )
    if others := [str(name) for name, value in found.items() if not isinstance(value, Tensor)]:
        raise ExportError(
            f"{path}: a state dict of tensors is expected, found others in {_few(others)}; save model.state_dict()"
            f" alone, or under the key {' or '.join(STATE_DICTS)}"
        )
    return {str(name): value for name, value in found.items()}


def _without_prefixes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> State:
    names = list(state)
    while True:
        if any(COMPILED in name for name in names) and not any(COMPILED in name for name in own):
            names = [name.replace(COMPILED, "") for name in names]
        elif _all_parallel(names) and not _all_parallel(own):
            names = [name.removeprefix(PARALLEL) for name in names]
        else:
            return dict(zip(names, state.values(), strict=True))


def _all_parallel(names: Collection[str]) -> bool:
    return bool(names) and all(name.startswith(PARALLEL) for name in names)


def _shape(value: Tensor) -> tuple[int, ...] | None:
    """None for a lazy module's weight, which takes any shape."""
    return None if isinstance(value, nn.UninitializedParameter | nn.UninitializedBuffer) else tuple(value.shape)


def _named(fault: str, names: list[str]) -> list[str]:
    return [f"{fault} {_few(names)}"] if names else []


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _what_is_unsafe(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error)) or re.search(r"class (\S+)", str(error))
    return f"an object of {found[1]}" if found else _one_line(error)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
