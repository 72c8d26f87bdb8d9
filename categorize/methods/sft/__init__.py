"""A causal language model that is tuned to answer with labels."""
