"""Features of texts (embeddings, TF-IDF, or both) and a classical estimator."""
