"""Comparisons of evaluated runs: for the terminal, as Markdown, JSON and CSV. Knows measures, not models."""
