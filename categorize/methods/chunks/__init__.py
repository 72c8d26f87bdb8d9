"""Chunks of a document, read by an encoder and joined by a small network."""
