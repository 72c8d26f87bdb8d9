"""What a training read of its recipe: an interrupted run is continued where that is the same."""

from __future__ import annotations

from typing import Any

from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Key, Problems, render
from categorize.recipe.scalars import flow

# Where the run goes and what comes after training. The source of the rows may be elsewhere by now: the rows themselves
# are compared.
UNREAD: tuple[Key, ...] = (
    ("name",),
    ("output_dir",),
    ("hub",),
    ("prediction",),
    ("decision",),
    ("data", "source"),
    ("data", "columns", "keep"),
    ("data", "splits", "file"),
    *(
        ("training", key)
        for key in (
            "resume", "keep_checkpoints", "save_total_limit", "per_device_eval_batch_size", "eval_accumulation_steps",
            "report_to", "run_name", "project", "disable_tqdm",
        )
    ),
)  # fmt: skip
# What a causal model answers while it is trained chooses its best checkpoint.
READ_BY_SFT: tuple[Key, ...] = tuple(("prediction", key) for key in ("mode", "parsing", "max_new_tokens"))


def changes(before: str, now: str) -> list[str]:
    """What a training would read otherwise, `key: value now, was value then`; none where it may go on.

    Args:
        before, now: resolved recipes as text. Comments and the order of keys make no difference.
    """
    old, new = _leaves(before), _leaves(now)
    read_after_all = READ_BY_SFT if old.get(("kind",)) == "sft" else ()
    changed = []
    for key in dict.fromkeys([*old, *new]):
        unread = any(key[: len(one)] == one for one in UNREAD) and key not in read_after_all
        if old.get(key) != new.get(key) and not unread:
            changed.append(f"{render(key)}: {_shown(new, key)}, was {_shown(old, key)}")
    return changed


def _leaves(text: str) -> dict[Key, Any]:
    """Every value that is not a mapping, by its path."""
    node = compose(text, "recipe", Problems())
    found: dict[Key, Any] = {}

    def walk(key: Key, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk((*key, name), inner)
        else:
            found[key] = value

    walk((), {} if node is None else to_plain(node))
    return found


def _shown(leaves: dict[Key, Any], key: Key) -> str:
    return flow(leaves[key]) if key in leaves else "not set"
