"""A classification or regression head on an encoder or a decoder."""
