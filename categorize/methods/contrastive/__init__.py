"""A sentence encoder tuned on pairs of texts, and a linear model on its vectors: for few labels."""
