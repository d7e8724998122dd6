"""Somebody else's module: a class, function or module in a Python file or in a package."""

import ast
import importlib
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from aetool.errors import ExportError, InputError
from aetool.model.user_weights import Say, load_weights, one_line

EXPECTED = "FILE.py:CALLABLE is expected, such as net.py:Autoencoder, or package.module:CALLABLE"


def load_module(spec: str, weights: str | Path | None = None, say: Say = lambda _: None) -> nn.Module:
    """The module of FILE.py:CALLABLE or package.module:CALLABLE, with the weights of a file where one is given.

    The file runs as code: as part of its package where it imports from there, else alone. Packages are looked for
    in the current directory. CALLABLE is a class of modules or a function that gives one, called without
    arguments, or a module. `say` is told what of a file of weights was taken.

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
    """The file of the code, and its name as part of a package where it is one."""
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
    """How many packages up the relative imports of a file reach; 0 without any."""
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
    """Around the user's code: its neighbours can be imported, no cache is written, errors name their line."""
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
            f"{path}{_line_in(whole, error)}: fails ({one_line(error)}); aetool runs the file and calls {name}(): "
            "give a function without arguments, and keep training under if __name__ == '__main__'"
        ) from error
    finally:
        sys.dont_write_bytecode = before
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _line_in(path: Path, error: BaseException) -> str:
    """`, line 3`: where the user's file failed, if it was there."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path]
    return f", line {lines[-1]}" if lines else ""


def _offered(found: types.ModuleType) -> list[str]:
    """Names of what the file itself makes and could be a module."""
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == found.__name__)
    ]
