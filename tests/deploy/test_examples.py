"""examples/: the programs in Python answer alike, and what examples/README.md names is there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def answers(program, without):
    """Lines of the example, run where the modules `without` are not installed."""
    start = f"import sys, runpy; sys.modules |= dict.fromkeys({without!r}); sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    done = subprocess.run(
        [*command, EXAMPLES / "embed_python" / program, ROOT / "exported" / "samples.csv"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_with_aetool_and_without_it_the_answers_are_the_same():
    ours = answers("with_aetool.py", ("torch", "onnx", "pyarrow"))
    bare = answers("with_onnxruntime.py", ("aetool", "torch", "onnx"))
    assert len(ours) == 100 and [line.split()[2] for line in ours] == [line.split()[2] for line in bare]
    assert {line.split()[2] for line in ours} == {"normal", "anomaly"}


def test_what_the_readme_names_is_there():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([\w_]+)\)", text):
        assert (EXAMPLES / target).is_dir()
    for path in re.findall(r"\bexamples/[\w/.]+\w", text):
        if "/site" not in path and "/detector" not in path:
            assert (ROOT / path).exists(), path
