"""The checks by code. One that does not matter is left out with `evaluation.ignore: [C03]`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from categorize.analysis import checks_of_data as data
from categorize.analysis import checks_of_labels as labels
from categorize.analysis import checks_of_runs as runs
from categorize.analysis.advice import SEVERITIES, Advice
from categorize.analysis.inputs import Inputs
from categorize.errors import UserError

Check = Callable[[Inputs, Mapping[str, Any]], Iterable[Advice]]

CHECKS: dict[str, Check] = {
    "C01": runs.no_better_than_the_baseline,
    "C02": runs.invalid_answers,
    "C03": labels.never_found,
    "C04": runs.overfit,
    "C05": runs.untuned,
    "C06": runs.calibration,
    "C07": data.seen_in_train,
    "C08": data.too_few_to_tell,
    "C09": labels.few_test_rows,
    "C10": data.other_mix,
    "C11": runs.cut_texts,
    "C12": labels.gold_in_doubt,
    "C13": data.weak,
    "C14": labels.confused,
    "C15": runs.together,
    "C16": data.contradictions,
    "C17": data.unlike_train,
    "C18": data.biased_counts,
    "C19": data.changes_matter,
}


def check_codes(codes: Iterable[str]) -> None:
    """Raises UserError where a code of `evaluation.ignore` is not a check."""
    for code in codes:
        if code not in CHECKS:
            raise UserError(
                f"evaluation.ignore: {code!r} is not a check; there are {', '.join(CHECKS)} (docs/evaluation.md)"
            )


def advise(inputs: Inputs, found: Mapping[str, Any], ignore: Collection[str] = ()) -> list[Advice]:
    """What all checks but the ignored ones say, the most serious first, then by code.

    Args:
        found: what `look_closer` has found so far.
    """
    given = [one for code, check in CHECKS.items() if code not in ignore for one in check(inputs, found)]
    return sorted(given, key=lambda one: (SEVERITIES.index(one.severity), one.code))
