"""Finished runs one behind the other: a cheap one answers what it is sure of, the next one the rest."""
