"""Pages of measurements.

`page` puts a benchmark together: `series` (contestants and cases), `verdicts`, `_distribution` (latency),
`_throughput` and `tables`. `tuning_page` is the page of a tuning.
"""

__all__ = ["page", "series", "tables", "tuning_page", "verdicts"]
