"""Texts as rows of numbers, for estimators other than neural networks, and for similarity."""
