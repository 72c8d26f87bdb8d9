"""Methods: how a recipe and its data become a run."""
