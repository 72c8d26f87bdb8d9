"""A closer look at an evaluation: where runs fail, why, what to do, and whether their counts can be used."""
