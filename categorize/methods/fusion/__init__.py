"""Finished runs fused by calibrated weights."""
