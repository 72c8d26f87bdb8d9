"""k nearest neighbours among labelled rows."""
