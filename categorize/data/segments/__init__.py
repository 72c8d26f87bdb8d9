"""Documents become segments, predictions of segments those of documents."""
