"""A user's module, from a Python file or a package, and its weights."""

import ast
import importlib
import pickle
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from aetool.errors import ExportError, InputError, reason_of
from aetool.suggest import few

# Weights of a user's module, read from the files that trainers write.

State = dict[str, Tensor]
Say = Callable[[str], None]

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Keys under which checkpoints hold the weights among other things, the likeliest first; others are tried too."""
_COMPILED = "_orig_mod."
"""Prefix that torch.compile adds to the names of weights."""
_PREFIXES = ("module.", "model.", "net.", "network.", "autoencoder.")
"""Prefixes that DataParallel and trainers add to the names, likeliest first; others are tried too."""
_COUNTER = "num_batches_tracked"
"""A number that batch normalisation needs for training alone; files of old PyTorch and of other tools lack it."""
_DEEPEST = 3  # mappings inside one another
_SHOWN = 3  # names in a message


def load_weights(module: nn.Module, path: str | Path, say: Say = lambda _: None) -> None:
    """Load all weights of `module` from a .safetensors file or a file of `torch.save`.

    The weights may be under a key, and their names may have a prefix, as trainers write them; `say` is called
    with what was done about it. The file is read without running code that it names.

    Raises:
        InputError: no such file.
        ExportError: a damaged file, one without weights, or those of another module; the message names them.
    """
    path = Path(path)
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, nn.DataParallel):
        module = module.module
    own = module.state_dict()
    found = [(key, *_renamed(state, own)) for key, state in _read(path)]
    fitting = [one for one in found if not _faults(one[1], own)]
    key, state, notes = (fitting or found)[0]
    if faults := _faults(state, own):
        where = f", under {key!r}," if key else ""
        raise ExportError(
            f"{path}: the {len(own)} weights of {type(module).__name__} are expected; the file{where} "
            f"{'; it '.join(faults)}: make the module with the settings it was trained with"
        )
    if key:
        notes = [f"the weights under {key!r}", *notes]
    if others := [other for other, *_ in fitting if other != key]:
        notes.append(f"not those under {', '.join(map(repr, others))}")
    if lacking := [name for name in own if name not in state]:
        state |= {name: own[name] for name in lacking}
        notes.append(f"without {_COUNTER} of batch normalisation, which only training needs")
    try:
        module.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError) as error:
        kind = type(module).__name__
        raise ExportError(f"{path}: {kind} refuses the weights: {_one_line(error)}; check the file") from error
    if notes:
        say(f"{path.name}: used {', '.join(notes)}")


def _one_line(error: BaseException) -> str:
    """Return the class and the beginning of the message of an error."""
    return f"{type(error).__name__}: {reason_of(error, 200)}"


def _read(path: Path) -> list[tuple[str, State]]:
    """Return every state dict of a file with the keys that lead to it, likeliest first."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .safetensors file or a state dict saved by torch.save")
    if path.suffix == ".safetensors":
        try:
            return [("", load_tensors(path.read_bytes()))]
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path}: not a valid safetensors file ({error}); save or fetch it again") from error
    loaded = _unpickled(path)
    if found := list(_state_dicts(loaded)):
        return sorted(found, key=lambda one: _rank(one[0], KEYS))
    if not isinstance(loaded, Mapping) or not loaded:
        raise ExportError(
            f"{path}: a state dict is expected, found {type(loaded).__name__}; save model.state_dict()"
        )
    keys = few([str(key) for key in loaded], _SHOWN)
    raise ExportError(
        f"{path}: a state dict of tensors is expected, alone or under a key, found {keys}; save model.state_dict()"
    )


class _StandIn:
    """A substitute for objects of classes that are not loaded, such as hyper-parameters; it accepts everything."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> "_StandIn":
        return object.__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _unpickled(path: Path) -> Any:
    """Load a file of `torch.save`; objects of classes other than tensors and containers become empty
    substitutes."""
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - an old format, or a damaged file: reading it tells
        unknown = []
    stand_ins: list[Any] = [(type("StandIn", (_StandIn,), {}), name) for name in unknown]
    try:
        with torch.serialization.safe_globals(stand_ins):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(path, _what_is_unsafe(error)) from error
    except Exception as error:
        raise ExportError(
            f"{path}: not a state dict that torch can read ({_one_line(error)}); save it again with "
            "torch.save(model.state_dict(), ...)"
        ) from error
    if isinstance(found, _StandIn):
        raise _unsafe(path, f"an object of {', '.join(sorted(unknown)[:_SHOWN])}")
    return found


def _unsafe(path: Path, what: str) -> ExportError:
    return ExportError(
        f"{path}: refused, it holds more than weights ({what}), and loading it could run "
        "code; if you trust it, save only the weights: torch.save(model.state_dict(), ...) or safetensors"
    )


def _state_dicts(found: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    if not isinstance(found, Mapping) or not found or depth > _DEEPEST:
        return
    if all(isinstance(value, Tensor) for value in found.values()):
        yield key, {str(name): value for name, value in found.items()}
        return
    for name, value in found.items():
        yield from _state_dicts(value, f"{key}.{name}" if key else str(name), depth + 1)


def _renamed(state: State, own: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """Return the state under the module's own names, and what was done for it."""
    notes: list[str] = []
    if not any(_COMPILED in name for name in own) and any(_COMPILED in name for name in state):
        state = {name.replace(_COMPILED, ""): value for name, value in state.items()}
    needed = [name for name in own if not name.endswith(_COUNTER)]
    if not needed or all(name in state for name in needed):
        return state, notes
    prefixes = [name.removesuffix(needed[0]) for name in state if name.endswith(f".{needed[0]}")]
    fitting = [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]
    if fitting:
        prefix = min(fitting, key=lambda one: _rank(one, _PREFIXES))
        inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        outside = [name for name in state if not name.startswith(prefix)]
        notes.append(f"without {prefix!r} in front of their names")
        if outside:
            notes.append(f"not {few(outside, _SHOWN)} beside them")
        return inside, notes
    # The other way: the module wraps another, whose weights these are.
    wrapped = next((one[: -len(name)] for name in state for one in needed[:1] if one.endswith(f".{name}")), None)
    if wrapped and all(f"{wrapped}{name}" in own for name in state):
        notes.append(f"with {wrapped!r} in front of their names")
        return {f"{wrapped}{name}": value for name, value in state.items()}, notes
    return state, notes


def _faults(state: State, own: Mapping[str, Tensor]) -> list[str]:
    """Return why these are not the weights of a module; empty if they are."""
    return [
        *_named("lacks", [name for name in own if name not in state and not name.endswith(_COUNTER)]),
        *_named("has, beside them,", [name for name in state if name not in own]),
        *_named(
            "has other shapes in",
            [
                f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
                for name in own
                if name in state and _shape(own[name]) not in (None, tuple(state[name].shape))
            ],
        ),
    ]


def _rank(name: str, likely: tuple[str, ...]) -> tuple[int, int]:
    last = name.rpartition(".")[2] if likely is KEYS else name
    return (likely.index(last) if last in likely else len(likely), len(name))


def _shape(value: Tensor) -> tuple[int, ...] | None:
    """Return the shape; None for a lazy module's weight, which takes any."""
    return None if isinstance(value, nn.UninitializedParameter | nn.UninitializedBuffer) else tuple(value.shape)


def _named(fault: str, names: list[str]) -> list[str]:
    return [f"{fault} {few(names, _SHOWN)}"] if names else []


def _what_is_unsafe(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error)) or re.search(r"class (\S+)", str(error))
    return f"an object of {found[1]}" if found else _one_line(error)


EXPECTED = "FILE.py:CALLABLE is expected, such as net.py:Autoencoder, or package.module:CALLABLE"


def load_module(spec: str, weights: str | Path | None = None, say: Say = lambda _: None) -> nn.Module:
    """Load the module of FILE.py:CALLABLE or package.module:CALLABLE, with weights from a file if given.

    The file runs as code: as part of its package where it imports from there, else alone. Packages are
    searched in the current directory. CALLABLE is a class of modules or a function that returns one, called
    without arguments, or a module. `say` is called with what was taken of a file of weights.

    Raises:
        InputError: no such file, or nothing of that name in it.
        ExportError: the file fails, gives no module, or the weights are not the module's.
    """
    file, _, name = spec.rpartition(":")
    if not file or not name.isidentifier():
        raise InputError(f"{spec}: {EXPECTED}")
    path, dotted = _place(file)
    with _running(path, name):
        found = _executed(path) if dotted is None else importlib.import_module(dotted)
        if not hasattr(found, name):
            offered = ", ".join(_offered(found)[:10]) or "nothing that could be one"
            raise InputError(f"{file}: has no {name!r}; it has {offered}: give one of them after the colon")
        module = getattr(found, name)
        if not isinstance(module, nn.Module) and callable(module):
            module = module()
    if not isinstance(module, nn.Module):
        raise ExportError(
            f"{file}: {name} gives {type(module).__name__}, a torch.nn.Module is expected; name its class, or a "
            "function that returns it"
        )
    if weights is not None:
        load_weights(module, weights, say)
    return module


def _place(file: str) -> tuple[Path, str | None]:
    """Return the file of the code, and its name as part of a package if it is one."""
    path = Path(file)
    parts = file.split(".")
    if not path.exists() and path.suffix != ".py" and all(part.isidentifier() for part in parts):
        inside = Path(*parts)
        path = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
        if not path.exists():
            raise InputError(f"{file}: no {path} in the current directory; {EXPECTED}")
        return path, file
    depth = _leading_dots(path)
    if depth == 0:
        return path, None
    whole = path.resolve()
    packages = [whole.parent]
    while len(packages) < depth or (packages[-1].parent / "__init__.py").is_file():
        packages.append(packages[-1].parent)
    names = [folder.name for folder in reversed(packages)]
    return path, ".".join(names if path.stem == "__init__" else [*names, path.stem])


def _leading_dots(path: Path) -> int:
    """Return the number of packages that the relative imports of a file reach up; 0 without any."""
    try:
        tree = ast.parse(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {EXPECTED}") from error
    except (SyntaxError, ValueError):  # running it tells, with the line
        return 0
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _executed(path: Path) -> types.ModuleType:
    # In sys.modules, where dataclasses and pickle look for it.
    made = types.ModuleType(f"_aetool_user_{path.stem}")
    made.__file__ = str(path)
    sys.modules[made.__name__] = made
    exec(compile(path.read_bytes(), str(path), "exec"), made.__dict__)
    return made


@contextmanager
def _running(path: Path, name: str) -> Iterator[None]:
    """Run the user's code: its neighbours can be imported, no cache is written, errors name their line."""
    whole = path.resolve()
    roots = [whole.parent]
    while (roots[-1] / "__init__.py").is_file():
        roots.append(roots[-1].parent)
    depth = _leading_dots(path)  # of packages without an __init__.py
    roots += [folder for folder in whole.parents[: depth + 1] if folder not in roots]
    added = list(dict.fromkeys(map(str, [*roots, Path.cwd()])))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path[:0] = added
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise ExportError(
            f"{path}{_line_in(whole, error)}: fails ({_one_line(error)}); aetool runs the file and calls {name}()"
            ": give a function without arguments, and keep training under if __name__ == '__main__'"
        ) from error
    finally:
        sys.dont_write_bytecode = before
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _line_in(path: Path, error: BaseException) -> str:
    """Return `, line 3`, where the user's file failed, or an empty text."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path]
    return f", line {lines[-1]}" if lines else ""


def _offered(found: types.ModuleType) -> list[str]:
    """Return the names that the file itself defines and that could be a module."""
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == found.__name__)
    ]
