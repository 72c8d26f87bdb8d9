"""Similarity of texts and descriptions of labels: labels without a training row, by any features."""
