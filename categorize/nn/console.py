"""Keeps other libraries' chatter off the terminal, so that a run's own lines can be read; errors still show."""

from __future__ import annotations

import logging
import os
import warnings

CHATTY = (
    "torch.onnx._internal.exporter",
    "bitsandbytes",
    "bitsandbytes.backends.cpu.ops",
    "huggingface_hub",
    "datasets",
    "DeepSpeed",
    "deepspeed",
    "torch.distributed",
    "accelerate",
    "httpx",
)


def quiet_libraries() -> None:
    """Silence warnings, load reports and bars for local files. `CATEGORIZE_VERBOSE=1` leaves everything as it is."""
    if os.environ.get("CATEGORIZE_VERBOSE") == "1":
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the fork warning; one process tokenizes fast enough
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    quiet_loggers()
    import torch
    from transformers.utils import logging as transformers_logging

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns at every import that it found none

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def quiet_loggers() -> None:
    """The part of it that comes before these libraries are imported: some warn as they are."""
    if os.environ.get("CATEGORIZE_VERBOSE") != "1":
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
