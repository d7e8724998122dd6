"""The results that pages are made of, told apart by their kind."""

from pathlib import Path

from aetool.bench import result as bench
from aetool.bench.records import read_document
from aetool.bench.result import BenchResult
from aetool.tune import result as tune
from aetool.tune.result import TuningResult


def read_result(path: Path) -> BenchResult | TuningResult:
    """Read a file of `aetool bench` or `aetool tune`.

    Raises:
        BenchmarkError: not there, another kind of file, of a newer aetool, or with an entry that is wrong.
    """
    kinds = {module.KIND: module.FORMAT_VERSION for module in (bench, tune)}
    content = read_document(path, kinds, "aetool bench or aetool tune")
    if content["kind"] == tune.KIND:
        return tune.tuning_of(content, str(path))
    return bench.result_of(content, str(path))
