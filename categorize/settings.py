"""Settings that a run saves, each as one JSON file: dataclasses that pydantic writes and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from categorize.errors import UserError
from categorize.writing import json_text, write_whole


class Settings:
    """Base of a dataclass that is saved as JSON.

    Attributes:
        file_name: its name in a folder.
        title: what it is, for messages.
    """

    file_name: ClassVar[str]
    title: ClassVar[str]
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises pydantic's ValidationError, and UserError as the constructor does."""
        return TypeAdapter(cls).validate_python(data)

    def save(self, path: str | Path) -> None:
        """Write JSON, to a file or into a folder."""
        write_whole(self._file(path), json_text(self.to_dict()))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, from the file or its folder.

        Raises:
            UserError: the file is missing or holds something else.
        """
        file = cls._file(path)
        try:
            return TypeAdapter(cls).validate_json(file.read_bytes())
        except OSError as error:
            raise UserError(
                f"{file}: cannot read {cls.title} ({error.strerror}); is the run folder complete?"
            ) from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise UserError(f"{file}: not {cls.title} ({reason}); train the run again") from None

    @classmethod
    def _file(cls, path: str | Path) -> Path:
        return Path(path) / cls.file_name if Path(path).is_dir() else Path(path)
