"""The result of tuning, read strictly and whole; `aetool.runtime.tuning_file` declares it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aetool.bench.result import measured_in, read_document
from aetool.runtime.tuning_file import FORMAT_VERSION, KIND, TuningResult


def tuning_of(content: Mapping[str, Any], where: str) -> TuningResult:
    """Return the result in a document of `aetool.bench.result.read_document`.

    Raises:
        BenchmarkError: of another version, or with a missing entry or one that no measurement gives.
    """
    source = measured_in(where)
    result = source.read(TuningResult, content)
    for i, trial in enumerate(result.trials):
        for j, race in enumerate(trial.races):
            path = f"$.trials[{i}].races[{j}]"
            if not race.seconds or min(*race.seconds, *race.default_seconds, race.ratio) <= 0:
                raise source.fault(path, "rounds of more than 0 seconds", race.seconds)
    return result


def read_tuning(path: Path) -> TuningResult:
    """Read a file of `aetool tune`.

    Raises:
        BenchmarkError: see `tuning_of`; or not there, or another kind of file.
    """
    return tuning_of(read_document(path, {KIND: FORMAT_VERSION}, "aetool tune"), str(path))
