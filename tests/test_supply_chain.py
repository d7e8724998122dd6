"""What aetool takes in has no hole that is known, and can be listed."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FLOORS = {
    "onnx": ((1, 21), "CVE-2026-34446, CVE-2026-34447: files elsewhere read through links in external data"),
    "torch": ((2, 10), "CVE-2026-24747: code run by torch.load(weights_only=True)"),
    "onnxruntime": (
        (1, 28),
        "external data of sparse tensors, read from anywhere by 1.26; earlier ones are not tested",
    ),
    "onnxruntime-gpu": ((1, 28), "as onnxruntime"),
    "pyarrow": ((14, 0, 1), "CVE-2023-47248: code run by reading a file of extension types"),
    "cryptography": ((44, 0, 1), "CVE-2024-12797: OpenSSL bundled with 42.0.0 to 44.0.0"),
    "numpy": ((1, 22), "CVE-2021-34141: incomplete comparison of strings"),
    "scikit-learn": ((1, 5), "CVE-2024-5206: training texts kept by TfidfVectorizer"),
    "tqdm": ((4, 66, 3), "CVE-2024-34062: code run by arguments of its command line"),
}
"""Package -> the first release without the hole, and the hole."""


def requirements():
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in (text for texts in lists for text in texts):
        name = re.match(r"[A-Za-z0-9_.-]+", text).group().lower()
        floor = re.search(r"[>=]=([0-9.]+)", text)
        if name != "aetool":
            yield name, tuple(map(int, floor.group(1).split("."))) if floor else ()


@pytest.mark.parametrize("name", FLOORS)
def test_no_release_with_a_known_hole_is_allowed(name):
    asked = [floor for package, floor in requirements() if package == name]
    assert asked, f"{name} is no requirement any more: take it out of FLOORS"
    assert min(asked) >= FLOORS[name][0], FLOORS[name][1]


def test_every_requirement_has_a_floor():
    assert [name for name, floor in requirements() if not floor] == []


def test_every_requirement_is_among_the_versions_tested():
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {name for name, _ in requirements()} <= {name.lower() for name in pinned}
    for name, floor in requirements():
        assert tuple(int(part) for part in pinned[name].split(".")[:3] if part.isdigit()) >= floor


def test_make_sbom_lists_what_an_app_takes_in():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nsbom: ")[2].partition("\n\n")[0]
    assert "cyclonedx-py environment" in recipe and "[cpu]" in recipe and "dist/sbom.cdx.json" in recipe


FORBIDDEN_CALLS = {"eval", "exec", "pickle.load", "pickle.loads", "marshal.loads", "os.system"}
FORBIDDEN_OPTIONS = {("allow_pickle", True), ("weights_only", False), ("shell", True)}
NETWORK = {"socket", "ssl", "urllib", "http", "requests", "httpx", "ftplib", "smtplib"}


def faults(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            options = {
                (word.arg, word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)
            }
            if ast.unparse(node.func) in FORBIDDEN_CALLS or options & FORBIDDEN_OPTIONS:
                yield f"{path.name}:{node.lineno}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if {name.split(".")[0] for name in names} & NETWORK:
                yield f"{path.name}:{node.lineno}"


def test_no_source_reads_pickles_runs_text_or_opens_a_connection():
    found = [fault for path in (ROOT / "aetool").rglob("*.py") for fault in faults(path)]
    # export --module FILE, serve, bench serve
    meant = ("user_code.py:", "server.py:", "_draining.py:", "_health.py:", "_http_load.py:")
    meant += ("_counts.py:", "_outputs.py:", "mqtt.py:")  # watch --metrics-port, --webhook and --mqtt
    meant += ("_http.py:", "_oci.py:", "_hub.py:")  # a store that is named by a URI
    assert [fault for fault in found if not fault.startswith(meant)] == []


@pytest.mark.parametrize(
    "code", ["eval(x)", "pickle.loads(x)", "np.load(x, allow_pickle=True)", "import urllib.request"]
)
def test_the_check_finds_what_it_looks_for(code, tmp_path):
    (tmp_path / "a.py").write_text(code)
    assert list(faults(tmp_path / "a.py")) == ["a.py:1"]
