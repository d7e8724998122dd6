"""Results as pages for people: one HTML file that needs neither network nor JavaScript.

`draw` has the frame of a page, shapes, tables and numbers. `bundle` makes the page of a bundle: `data` runs it
over rows and collects `records`, `page` puts the parts together. `bench` makes the pages of a benchmark (`page`)
and of a tuning (`tuning_page`), `comparison` that of two models. Other rooms also use `bundle.data.portray`, which
imports the runtime, and the words of `bundle.facts`.
"""

from aetool.bench.result import BenchResult
from aetool.report.bench.page import benchmark_page, read_result
from aetool.report.bench.tuning_page import tuning_page
from aetool.report.bundle.page import bundle_page
from aetool.report.comparison import comparison_page
from aetool.runtime.tuning_file import TuningResult

__all__ = [
    "BenchResult",
    "TuningResult",
    "benchmark_page",
    "bundle_page",
    "comparison",
    "comparison_page",
    "read_result",
    "tuning_page",
]
