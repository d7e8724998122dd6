"""What DESIGN asks of the code itself, where import-linter does not look: `make lint` runs that."""

import ast
import functools
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "aetool"
MODULES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = [path for path in MODULES if "cli" not in path.relative_to(PACKAGE).parts]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


library = pytest.mark.parametrize("path", LIBRARY, ids=name_of)
every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def prints(tree):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def imports(tree):
    """(line, module) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]


def imports_in_functions(tree):
    return sorted({line for node in functions_of(tree) for line, _ in imports(node)})


def imports_by_string(tree):
    """Lines with importlib.import_module or __import__."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
        and getattr(node, "attr", getattr(node, "id", "")) in ("import_module", "__import__")
    ]


def bare_excepts(tree):
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]


def without_docstring(tree):
    """The public functions, and the module, that say nothing of themselves."""
    functions = [node for node in tree.body if isinstance(node, FUNCTIONS) and not node.name.startswith("_")]
    return [getattr(node, "name", "module") for node in (tree, *functions) if not ast.get_docstring(node)]


def test_the_modules_are_found():
    assert len(LIBRARY) > 20 and len(MODULES) > len(LIBRARY)


@library
def test_library_code_prints_nothing_and_knows_no_click(path):
    tree = tree_of(path)
    assert prints(tree) == []
    assert [line for line, module in imports(tree) if module.split(".")[0] in ("click", "rich")] == []


def test_the_map_names_files_that_exist():
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?!tests/)[a-z_]+/[a-z_/]+\.py)`", text)
    assert len(paths) > 25 and [path for path in paths if not (PACKAGE / path).exists()] == []


def test_the_house_is_small_enough_to_learn():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 29 and len(MODULES) <= 340


@every_module
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_no_class_name_stands_twice():
    classes = [
        node.name
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert sorted(classes) == sorted(set(classes))


ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def handed_out(room):
    """`__all__` of a room's face, and the names that it imports or defines."""
    names, defined = [], set()
    for node in tree_of(room / "__init__.py").body:
        if isinstance(node, ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            defined.add(node.targets[0].id)
            if node.targets[0].id == "__all__":
                names = ast.literal_eval(node.value)
    return names, defined


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_module_is_private_or_handed_out_by_its_room(room):
    names, defined = handed_out(room)
    public = {path.stem for path in room.glob("*.py") if not path.name.startswith("_")}
    assert public <= set(names), "name it in __all__, or begin its name with an underscore"
    assert set(names) <= public | defined and sorted(set(names)) == sorted(names)


@every_module
def test_no_room_enters_another_by_a_private_module(path):
    inside = ("aetool", *path.relative_to(PACKAGE).parts)
    for line, module in imports(tree_of(path)):
        *room, name = module.split(".")
        private = room[:1] == ["aetool"] and name.startswith("_") and name != "__init__"
        assert not private or inside[: len(room)] == tuple(room), f"line {line}: {module}"


LATER = {
    "__main__.py": {"aetool.cli"},  # a sign of life comes before its import
    "bundle/schema.py": {"dataclasses"},  # start-up: an app's own records are named tuples
    "bundle/bundle.py": {
        "pathlib",
        "aetool.suggest",
        "aetool.bundle.signature",
    },  # start-up: slow to import, for few programs
    "bench/factories.py": {
        "aetool",
        "aetool.choices",
        "aetool.runtime.settings",
        "onnxruntime",
        "openvino",
    },  # their import is timed
    "bench/_torch_contestant.py": {
        "torch",
        "aetool.model",
        "aetool.model.pipeline",
    },  # the same, and PyTorch is an optional package
    "deploy/c.py": {"aetool.deploy._generator"},  # onnx is an optional package, which the core does without
    "deploy/_work.py": {
        "runpy",
        "numpy",
        "onnx",
        "emx_onnx_cgen",
        "emx_onnx_cgen.compiler",
        "aetool.runtime.providers",
    },  # each piece of work in a process of its own, with packages of its own
    "report/bundle/data.py": {"umap"},  # an optional package
    "runtime/_inputs.py": {"aetool.suggest"},  # the same
    "release/_store.py": {
        "aetool.release._hub",
        "aetool.release._oci",
        "aetool.release._remote",
    },  # a directory needs none of them
    "runtime/following.py": {"fcntl"},  # Windows has none
    "runtime/session.py": {
        "aetool.runtime.calibrator",
        "aetool.runtime.explain",
        "aetool.runtime.stream",
    },
    "runtime/_opened.py": {"aetool.runtime.calibrator", "aetool.runtime.tuning"},
    "runtime/graphs.py": {"aetool.runtime.gpu.graph", "aetool.runtime.gpu.pinned"},
    "runtime/providers.py": {"onnxruntime", "onnxruntime_ep_openvino"},  # start-up; an optional package
    "runtime/tuning.py": {"importlib"},  # start-up: of metadata, for OpenVINO alone
}
"""What functions import: for start-up time, or since the package is optional."""


@library
def test_library_code_imports_at_the_top_but_for_what_is_listed(path):
    tree = tree_of(path)
    later = {module for function in functions_of(tree) for _, module in imports(function)}
    assert later == LATER.get(name_of(path), set())


BY_STRING = {"model/foreign/user_code.py"}
"""A user's own module, named as `package.module:callable`."""


@library
def test_nothing_is_imported_by_string(path):
    """Packers such as PyInstaller, mypy and editors find imports by reading the code."""
    if name_of(path) not in BY_STRING:
        assert imports_by_string(tree_of(path)) == []


@every_module
def test_no_except_catches_everything_unnamed(path):
    assert bare_excepts(tree_of(path)) == []


@every_module
def test_modules_and_public_functions_say_what_they_are(path):
    assert without_docstring(tree_of(path)) == []


def test_no_module_has_a_lazy_getattr():
    assert [
        path for path in MODULES if any(getattr(node, "name", "") == "__getattr__" for node in tree_of(path).body)
    ] == []


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (prints, "print(1)"),
        (imports_in_functions, "def f():\n    import json"),
        (imports_by_string, "import importlib\nimportlib.import_module('json')"),
        (bare_excepts, "try:\n    x\nexcept:\n    y"),
        (without_docstring, '"""m"""\ndef f(): ...'),
    ],
)
def test_the_checks_find_what_they_look_for(check, code):
    assert check(ast.parse(code))
