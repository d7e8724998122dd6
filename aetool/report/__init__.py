"""Results as pages for people: one HTML file that needs neither network nor JavaScript."""

from aetool.bench.result import BenchResult
from aetool.report.bench.page import benchmark_page, read_result
from aetool.report.bench.tuning_page import tuning_page
from aetool.report.bundle.page import bundle_page
from aetool.tune.result import TuningResult

__all__ = ["BenchResult", "TuningResult", "benchmark_page", "bundle_page", "read_result", "tuning_page"]
