"""Counters of the server, for Prometheus."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from aetool.serve._gate import Gate
from aetool.serve._live import Expected, LiveRows, families
from aetool.serve._merging import Figures, figures_from, figures_of

_SECONDS = tuple(factor * 10.0**power for power in range(-4, 1) for factor in (1, 2.5, 5))
_ROWS = tuple(2.0**power for power in range(0, 17, 2))


class _Connections(Collector):
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        """Yield the gate's current numbers."""
        gate = self._gate
        yield GaugeMetricFamily("aetool_connections_open", "Open connections.", value=len(gate))
        yield CounterMetricFamily("aetool_connections", "Connections accepted or refused.", value=gate.opened)
        yield GaugeMetricFamily(
            "aetool_held_bytes",
            "Bytes of large requests and answers in memory, beyond each connection's own.",
            value=gate.held_bytes,
        )
        refused = CounterMetricFamily(
            "aetool_connections_refused", "Connections refused or ended by a limit.", labels=("reason",)
        )
        for reason, count in sorted(gate.refused.copy().items()):
            refused.add_metric((reason,), count)
        yield refused


class _Page(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of one page."""
        return self._metrics


class Metrics:
    """Metrics of one server; names begin with `aetool_`."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        """Register the counters."""
        self._registry = registry = CollectorRegistry()

        def histogram(name: str, text: str, label: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"aetool_{name}", text, (label,), buckets=buckets, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"aetool_{name}", text, labels, registry=registry)

        no_model = "Answered requests; requests other than inference have no model."
        self._requests = counter("requests", no_model, "model", "status")
        self._seconds = histogram(
            "request_seconds", "Time from a request's head to its answer.", "model", _SECONDS
        )
        self._batch_rows = histogram("batch_rows", "Rows computed together.", "bundle", _ROWS)
        waited = "Time from a request's last byte to the start of its batch."
        self._queue_seconds = histogram("queue_seconds", waited, "model", _SECONDS)
        self._compute_seconds = counter("compute_seconds", "Time spent in the graphs.", "bundle")
        published = "Bundles that replaced served ones."
        self._replacements = counter("replacements", published, "bundle", "result")
        self._shadow_rows = counter("shadow_rows", "Rows that the shadow scored too.", "bundle")
        self._shadow_shed = counter("shadow_shed_rows", "Rows that the shadow left out under load.", "bundle")
        disagreed = "Rows that the shadow decided otherwise; `shadow` is its decision."
        self._shadow_disagreed = counter("shadow_disagreements", disagreed, "bundle", "shadow")
        self._waiting = Gauge("aetool_waiting_rows", "Rows that are waiting to be computed.", registry=registry)
        ProcessCollector(registry=registry)  # CPU, memory, descriptors
        self._live: dict[object, LiveRows] = {}
        self._before = Figures()
        self._answered: dict[tuple[str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}
        self._queued: dict[str, Histogram] = {}

    def watch_waiting(self, rows: Callable[[], int]) -> None:
        """Read the number of waiting rows from `rows` at every scrape."""
        self._waiting.set_function(rows)

    def watch_connections(self, gate: Gate) -> None:
        """Read the connections of `gate` at every scrape."""
        self._registry.register(_Connections(gate))

    def queued(self, model: str, seconds: float) -> None:
        """Count how long a request waited to be computed."""
        try:
            self._queued[model].observe(seconds)
        except KeyError:
            self._queued[model] = self._queue_seconds.labels(model)
            self._queued[model].observe(seconds)

    def answered(self, model: str, status: int, seconds: float | None = None) -> None:
        """Count an answer; `model` is a served one, or empty; `seconds` is None where nothing was done for it."""
        key = (model, status)
        try:
            self._answered[key].inc()
        except KeyError:
            self._answered[key] = self._requests.labels(model, status)
            self._timed[model] = self._seconds.labels(model)
            self._answered[key].inc()
        if seconds is not None:
            self._timed[model].observe(seconds)

    def batches_of(self, bundle: str) -> Callable[[int, float], None]:
        """Return a function to call with the rows and seconds of each batch, from any thread."""
        rows, seconds = self._batch_rows.labels(bundle), self._compute_seconds.labels(bundle)

        def computed(count: int, taken: float) -> None:
            rows.observe(count)
            seconds.inc(taken)

        return computed

    def live_of(self, place: object, bundle: str, version: str, expected: Expected, window_s: float) -> LiveRows:
        """Return what counts the rows of the bundle in `place`, from any thread; the one before it is dropped."""
        found = next((one for one in self._live.values() if (one.name, one.version) == (bundle, version)), None)
        if found is None:
            found = LiveRows(bundle, version, expected, window_s)
            if (before := self._before.live.pop((bundle, version), None)) is not None:
                found.restore(before)
        self._live[place] = found
        return found

    def _every_live(self) -> list[LiveRows]:
        """Return each counter of live rows once: a bundle may be served in two places."""
        return list(dict.fromkeys(list(self._live.values())))

    def digest(self) -> None:
        """Count the live rows that were taken; may take some milliseconds."""
        for live in self._every_live():
            live.digest()

    def shadow_of(self, bundle: str) -> tuple[Callable[[int, int, int], None], Callable[[int], None]]:
        """Return what counts rows, those that the shadow or the bundle alone flags, and rows left out."""
        rows, shed = self._shadow_rows.labels(bundle), self._shadow_shed.labels(bundle)
        flagged, passed = (self._shadow_disagreed.labels(bundle, word) for word in ("anomaly", "normal"))

        def compared(count: int, by_shadow: int, by_champion: int) -> None:
            rows.inc(count)
            flagged.inc(by_shadow)
            passed.inc(by_champion)

        return compared, shed.inc

    def replaced(self, bundle: str, *, refused: bool) -> None:
        """Count a bundle that was published in place of a served one."""
        self._replacements.labels(bundle, "refused" if refused else "served").inc()

    def page(self) -> bytes:
        """Return the page in Prometheus' text format."""
        live = families([(one, one.digest()) for one in self._every_live()])
        return generate_latest(self._registry) + generate_latest(_paged(live))

    # Several processes: each keeps what the one before it, in its place, counted

    def snapshot(self) -> bytes:
        """Return the figures of this process for the others, and for the one that may take its place."""
        return self._figures().to_json()

    def restore(self, content: bytes) -> None:
        """Continue with the counts of a snapshot; before bundles are served."""
        self._before.add(figures_from(content), gauges=False)

    def merged(self, others: Iterable[tuple[bytes, bool]], workers: int, restarts: int) -> bytes:
        """Return the page for this process and others: their snapshots, and whether each of them still serves."""
        found = self._figures()
        for content, serves in others:
            found.add(figures_from(content), gauges=serves)
        about = (
            GaugeMetricFamily("aetool_workers", "Processes that serve.", value=workers),
            CounterMetricFamily("aetool_worker_restarts", "Processes that were started again.", value=restarts),
        )
        return generate_latest(_paged((*found.metrics(self._every_live()), *about)))

    def _figures(self) -> Figures:
        found = figures_of(self._registry.collect(), self._every_live())
        found.add(Figures(self._before.kinds, self._before.values), gauges=False)
        return found


def _paged(metrics: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Page(list(metrics)))
    return registry
