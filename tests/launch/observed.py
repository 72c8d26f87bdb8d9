"""Starts an entry script under a launcher, and watches it: which rows every step trained on; a power cut on demand.

    accelerate launch observed.py run_seqcls.py recipe.yaml ...

`SEEN_ROWS` names a folder for one JSON file a process: the rows of each epoch's forward passes in training.
`CUT_AT_STEP` kills every process as that optimizer step begins; `ASK_AT_STEP` sends the second one alone SIGTERM then.
FSDP is switched on for CPU processes too: accelerate
1.15 chooses it on accelerators alone (`AcceleratorState` leaves MULTI_CPU out).
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any


def choose_fsdp_on_a_cpu() -> None:
    from accelerate import state
    from accelerate.utils import DistributedType

    original = state.AcceleratorState.__init__

    def choose(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        first = not state.AcceleratorState._shared_state
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if first and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = choose


def watch(seen: Path | None, cut: int | None, ask: int | None) -> None:
    from transformers import TrainerCallback

    from categorize.training.step_batches import StepBatches

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self, trainer: Any) -> None:
            self.trainer = trainer
            self.epochs: list[list[int]] = []

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.trainer.seen_rows = []

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.epochs.append(self.trainer.seen_rows)
            self.trainer.seen_rows = None  # evaluation comes now
            if seen is not None:
                (seen / f"{os.environ['RANK']}.json").write_text(json.dumps(self.epochs), encoding="utf-8")

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == cut:
                os.kill(os.getpid(), signal.SIGKILL)
            if state.global_step == ask and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGTERM)

    init_steps = StepBatches.init_steps

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        init_steps(self, *args, **kwargs)
        self.add_callback(Watch(self))

    StepBatches.init_steps = init  # type: ignore[method-assign]


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        choose_fsdp_on_a_cpu()
    watch(
        Path(os.environ["SEEN_ROWS"]) if "SEEN_ROWS" in os.environ else None,
        *(int(os.environ[name]) if name in os.environ else None for name in ("CUT_AT_STEP", "ASK_AT_STEP")),
    )
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
