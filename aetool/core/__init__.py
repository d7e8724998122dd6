"""The core: small dense networks in C, one row at the speed of the cache, the same bits on every machine.

`translate` makes a program of an ONNX graph, `program` lays it out, `constants` packs its weights, `native` runs
it with the compiled extension: core.c and core.h, which docs/core.md specifies, and module.c, which binds them to
Python. `_build` compiles them as pip installs aetool.

Other rooms import these modules; nothing is imported here, since every import slows the start of an app.
"""

__all__ = ["constants", "int8", "integers", "native", "program", "reference", "translate"]
