"""Texts as rows of numbers, for estimators that are no neural networks, and for similarity."""
