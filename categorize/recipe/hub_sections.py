"""The typed section `hub`: what is pushed to the Hugging Face Hub when the work is done."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from categorize.recipe.section import PositiveFloat, Section
from categorize.recipe.wording import quote


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ValueError(f"{quote(text)} is not the name of a repository; write owner/name")
    return text


class PushSection(Section):
    """What every push has."""

    repo_id: Annotated[str, AfterValidator(_repository)] = Field(description="Where to push: owner/name.")
    private: bool = Field(True, description="Make a new repository private; an existing public one is refused.")
    revision: str | None = Field(None, description="Branch to push to, made where it does not exist; by default main.")
    license: str | None = Field(None, description="As the Hub spells it (apache-2.0); for the card.")
    language: str | None = Field(None, description="Of the texts, ISO 639 (en, zh); by default told from the script.")
    personal_data: Literal["refuse", "allow"] = Field(
        "refuse",
        description="What becomes of a push whose texts hold secrets or personal data (keys, addresses, phone numbers, "
        "ids).",
    )


class HubSection(PushSection):
    """What is pushed to the Hugging Face Hub when training is done."""

    weights: Literal["run", "merged"] = Field(
        "run",
        description="run: as it was trained, an adapter without its base; merged: the adapter in whole weights, which "
        "stock tools load by the id alone (as --merge makes them), and the adapter itself in adapter/.",
    )
    checkpoints: bool = Field(False, description="Push what training saved on its way too, without the optimizer.")
    examples: bool = Field(False, description="Show a training text of each label in the card.")
    predictions: bool = Field(False, description="Push the predictions too; they hold the texts of the held-out rows.")


class DatasetHubSection(PushSection):
    """What is pushed to the Hugging Face Hub when a labelling run is done: its table, texts included, as a dataset."""

    progress_minutes: PositiveFloat | None = Field(
        None,
        description="While the job runs, say in the dataset's card how far it is, every so many minutes; by default it "
        "does not.",
    )
