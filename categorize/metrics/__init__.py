"""Measures, intervals, calibration and decision rules. Knows arrays, `LabelSet` and `Predictions`; never models.

How every number is defined stands in docs/metrics.md.
"""
