"""Measuring: contestants in processes of their own take turns; ratios and percentiles that can be defended."""
