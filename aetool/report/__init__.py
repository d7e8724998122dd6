"""Results as pages for people: one HTML file that needs neither network nor JavaScript."""

from aetool.report.benchmark import benchmark_page
from aetool.report.source import BenchResult, read_result

__all__ = ["BenchResult", "benchmark_page", "read_result"]
