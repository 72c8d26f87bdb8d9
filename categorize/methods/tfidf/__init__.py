"""TF-IDF features and a linear model."""
