"""A provider's batch as a teacher: it is asked by files, see `labeling.batches`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from categorize.labeling.exchange import JobStops, Reply, Request
from categorize.recipe.labeling_sections import BatchFileTeacher as Section


class BatchFileTeacher:
    """Names a provider's model; it answers nothing by itself."""

    def __init__(self, section: Section) -> None:
        self.name = section.name or section.model
        self.identity: Mapping[str, Any] = {
            "type": "batch_file",
            "model": section.model,
            "temperature": section.temperature,
            "top_p": section.top_p,
            "extra_body": section.extra_body,
        }

    async def ask(self, request: Request) -> Reply:
        """Raises JobStops: a provider's batch has no answer at once."""
        raise JobStops(f"{self.name}: is asked by files; leave --probe out")

    async def close(self) -> None:
        """Nothing is held."""
