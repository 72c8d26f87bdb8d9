"""The lexical method: names and aliases of labels, found in the text."""

from __future__ import annotations

from categorize.methods.lexical.section import LexicalModel, check_lexical
from categorize.methods.method import RoomMethod


class LexicalMethod(RoomMethod):
    """Label names and aliases in the text, judged by a classifier that knows no label."""

    name = "lexical"
    kind = "seqcls"
    section = LexicalModel
    checks = (check_lexical,)
    files = ("lexical.json", "token_frequencies.json")
    trains = False
    together = False
