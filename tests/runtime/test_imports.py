"""What an app takes in with aetool: the standard library, numpy, onnxruntime. And what it may rely on."""

import inspect
import re
import sys

import pytest

import aetool
from aetool import errors
from aetool.core.native import vectors

LIST_MODULES = """
import sys
for name in sys.argv[1:]:
    __import__(name)
print(*sorted(sys.modules), sep="\\n", file=sys.stderr)
"""


def test_importing_aetool_loads_only_numpy_onnxruntime_and_what_they_load(run_python):
    allowed = run_python(LIST_MODULES, "numpy", "onnxruntime")
    loaded = run_python(LIST_MODULES, "aetool", "aetool.bundle.bundle", "aetool.checks.verify")
    assert allowed.returncode == loaded.returncode == 0, loaded.stderr
    assert loaded.stdout == allowed.stdout == ""
    extra = set(loaded.stderr.split()) - set(allowed.stderr.split())
    known = {*sys.stdlib_module_names, "numpy", "onnxruntime", "aetool"}
    assert {name for name in extra if name.split(".")[0] not in known} == set()
    own = {name for name in extra if name.startswith("aetool.")}
    assert not {name for name in own if name.split(".")[1] in ("model", "export", "cli", "tables", "bench")}


def test_using_a_bundle_prints_nothing(run_python, exported):
    done = run_python(
        """
import sys, numpy as np, aetool
with aetool.load(sys.argv[1]) as model:
    model.score(np.full((3, 30), np.inf))
    model.encode(np.ones((2000, 30)))
""",
        exported,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


BLOCKED = """
import os, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
"""


def test_without_onnxruntime_the_import_works_and_loading_names_the_extra(run_python, exported):
    done = run_python(
        BLOCKED
        + """
import aetool
assert "onnxruntime" not in sys.modules
os.environ["AETOOL_CORE"] = "0"
try:
    aetool.load(sys.argv[1])
except aetool.DependencyError as error:
    assert isinstance(error, (aetool.AetoolError, ImportError))
    assert error.extra == "cpu" and "install aetool with the extra 'cpu'" in str(error), error
else:
    raise SystemExit("loaded without onnxruntime")
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(vectors() is None, reason="the core is not compiled here")
def test_with_the_core_a_dense_bundle_needs_no_onnxruntime(run_python, exported):
    done = run_python(
        BLOCKED
        + """
import numpy as np, aetool
with aetool.load(sys.argv[1]) as model:
    one, many = np.ones((1, 30), np.float32), np.ones((5000, 30), np.float32)
    assert (model.score(many) == model.score(one)).all() and "onnxruntime" not in sys.modules
    assert model.reconstruct(many).shape == many.shape
try:
    aetool.load(sys.argv[1], provider="cpu")
except aetool.DependencyError as error:
    assert error.extra == "cpu"
else:
    raise SystemExit("loaded on the CPU provider without onnxruntime")
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(vectors() is None, reason="the core is not compiled here")
def test_a_few_rows_of_a_dense_bundle_never_import_onnxruntime(run_python, exported):
    done = run_python(
        """
import sys, numpy as np, aetool
model = aetool.load(sys.argv[1])
for method in ("encode", "reconstruct", "score", "detect", "explain"):
    getattr(model, method)(np.ones((3, 30)))
assert "onnxruntime" not in sys.modules
model.score(np.ones((300, 30)))
assert "onnxruntime" in sys.modules
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


def test_a_broken_onnxruntime_is_a_dependency_error(run_python, exported):
    """What an uninstall of one of its two distributions leaves: a package without content."""
    done = run_python(
        """
import os, sys, types
os.environ["AETOOL_CORE"] = "0"
sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")
import aetool
try:
    aetool.load(sys.argv[1])
except aetool.DependencyError as error:
    assert "broken" in str(error), error
else:
    raise SystemExit("loaded")
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


def test_onnxruntime_does_not_report_to_anybody_unless_asked_to(run_python):
    script = "import os, aetool; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run_python(script).stdout == "1\n"
    asked = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'\n" + script
    assert run_python(asked).stdout == "0\n"


def test_the_names_an_app_may_use_are_pinned():
    names = """AetoolError AutoencoderSession BenchmarkError BudgetError BundleError CheckpointError
        DependencyError ExportError InputError Limits OutputError ProviderError ReleaseError
        VerificationError __version__ follow load"""
    assert sorted(aetool.__all__) == re.findall(r"\w+", names)
    assert all(hasattr(aetool, name) for name in aetool.__all__)


def test_the_tree_in_the_errors_docstring_names_every_class_with_its_other_parent():
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    tree = errors.__doc__.split("\n\n")[1].splitlines()
    drawn = {line.split()[0 if i == 0 else 1]: line for i, line in enumerate(tree)}
    assert set(drawn) == set(classes)
    for name, kind in classes.items():
        assert issubclass(kind, errors.AetoolError)
        assert set(aetool.__all__) >= {name}
        for other in kind.__bases__:
            if other not in (Exception, errors.AetoolError):
                assert f"({other.__name__})" in drawn[name]
