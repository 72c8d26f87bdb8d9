"""What `tests/forks.py` imports before it forks. One thread: a process that runs several cannot be forked safely."""

from importlib import import_module

import torch

for name in (
    "categorize.methods.head.fit",
    "categorize.methods.head.predictor",
    "categorize.methods.tfidf.fit",
    "categorize.train",
    "categorize.training.ending",
    "categorize.training.trainer",
    "peft",
    "pyarrow.parquet",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.svm",
    "transformers.trainer",
):
    import_module(name)
torch.set_num_threads(1)
