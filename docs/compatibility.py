"""Write docs/compatibility.md, which onnxruntime loads which bundle, from aetool.export.opset.

python docs/compatibility.py
"""

from pathlib import Path

from aetool.export.opset import NATIVE_OPSET, OLDEST_OPSET, RELEASES

PAGE = Path(__file__).with_suffix(".md")
HEAD = f"""# Which onnxruntime loads which bundle

Made from `aetool/export/opset.py` by `python docs/compatibility.py`.

A bundle is written in opset {NATIVE_OPSET}, an adopted file in its own, unless an option says otherwise.
`--onnxruntime-min X.Y`, with `aetool export` and `aetool adopt`, writes what that release can load; `--opset N`
sets the opset, from {OLDEST_OPSET} on. The result is checked, and an opset that the graph cannot be converted
to is refused.

The numbers were measured with the releases on PyPI: the highest opset and the highest IR version of a one-node
model that loads and runs on the CPU. A release that is not listed loads what the previous one does.

| onnxruntime | highest opset | highest IR version |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    lines = [f"| {major}.{minor} | {opset} | {ir} |\n" for (major, minor), (opset, ir) in sorted(RELEASES.items())]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
