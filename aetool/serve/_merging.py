"""Counts of several processes as one page of metrics."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from prometheus_client.core import Metric

from aetool.serve._live import LiveRows, Tally, families

_EXTREMES = {"process_start_time_seconds": min, "process_max_fds": min}
"""Figures of processes that are not summed."""
_Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""


@dataclass(slots=True)
class Figures:
    """Samples of one process or of several, without those of live rows, and the tallies of live rows."""

    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a metric -> its type and its text."""
    values: dict[str, dict[_Series, float]] = field(default_factory=dict)
    """Name of a metric -> sample -> value."""
    live: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """Name and version of a bundle -> its tally."""

    def add(self, other: "Figures", *, gauges: bool) -> None:
        """Add another process's; without `gauges` only what it counted, for one that has ended."""
        for name, kind in other.kinds.items():
            if gauges or kind[0] != "gauge":
                self.kinds.setdefault(name, kind)
                values = self.values.setdefault(name, {})
                for series, value in other.values[name].items():
                    join = _EXTREMES.get(series[0])
                    before = values.get(series)
                    values[series] = value if before is None else join(before, value) if join else before + value
        for key, tally in other.live.items():
            self.live[key] = self.live[key].plus(tally) if key in self.live else tally

    def to_json(self) -> bytes:
        """Return everything, for another process."""
        document = {
            "kinds": self.kinds,
            "values": {name: list(series.items()) for name, series in self.values.items()},
            "live": [(key, tally.total, list(tally.parts.items())) for key, tally in self.live.items()],
        }
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def metrics(self, served: Iterable[LiveRows]) -> Iterator[Metric]:
        """Yield the metrics; those of live rows for the bundles `served` here."""
        for name, (kind, text) in self.kinds.items():
            metric = Metric(name, text, kind)
            for (sample, labels), value in self.values[name].items():
                metric.add_sample(sample, dict(labels), value)
            yield metric
        yield from families(
            (one, self.live[key]) for one in served if (key := (one.name, one.version)) in self.live
        )


def figures_of(metrics: Iterable[Metric], live: Iterable[LiveRows]) -> Figures:
    """Return the figures of this process."""
    found = Figures()
    for metric in metrics:
        found.kinds[metric.name] = metric.type, metric.documentation
        found.values[metric.name] = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for sample in metric.samples
            if not sample.name.endswith("_created")  # times, of which no sum means anything
        }
    found.live = {(one.name, one.version): one.digest() for one in live}
    return found


def figures_from(content: bytes) -> Figures:
    """Return the figures that another process gave as JSON; none where it gave something else."""
    try:
        document: Mapping[str, Any] = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Figures()
    values = {
        name: {(sample, tuple(map(tuple, labels))): value for (sample, labels), value in series}
        for name, series in document["values"].items()
    }
    live = {
        tuple(key): Tally(np.array(total), {part: np.array(counts) for part, counts in parts})
        for key, total, parts in document["live"]
    }
    return Figures({name: tuple(kind) for name, kind in document["kinds"].items()}, values, live)
