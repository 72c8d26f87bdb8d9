"""The demo: a synthetic sample of video comments, and the builder of the tiny local models trained on its text."""
