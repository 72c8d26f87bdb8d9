"""Raw danmu (time-synchronised video comments) to tables of comments: read, merged by id, cleaned and counted."""

from categorize.danmu.files import Settings
from categorize.danmu.folder import Ingested, ingest
from categorize.danmu.source import open_danmu, read_danmu

__all__ = ["Ingested", "Settings", "ingest", "open_danmu", "read_danmu"]
