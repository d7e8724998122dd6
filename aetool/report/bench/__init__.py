"""Pages of measurements.

`page` puts a benchmark together: `series` (contestants and cases), `verdicts`, `distribution` (latency),
`throughput` and `tables`. `tuning_page` is the page of a tuning.
"""
