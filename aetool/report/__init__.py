"""Results as pages for people: one HTML file that needs neither network nor JavaScript."""

from aetool.bench.result import BenchResult, read_result
from aetool.report.benchmark import benchmark_page

__all__ = ["BenchResult", "benchmark_page", "read_result"]
