"""Teachers by their type, imported when a recipe names them."""

from __future__ import annotations

from collections.abc import Callable

from categorize.errors import UserError
from categorize.labeling.budget import Budget
from categorize.labeling.exchange import Teacher
from categorize.labeling.pace import Pace
from categorize.recipe.labeling_sections import BatchFileTeacher as BatchFileSection
from categorize.recipe.labeling_sections import EndpointTeacher as EndpointSection
from categorize.recipe.labeling_sections import LocalTeacher as LocalSection
from categorize.recipe.labeling_sections import TeacherSection

MakesTeacher = Callable[[TeacherSection, Budget, Callable[[str], None], bool], Teacher]


def make_teacher(
    section: TeacherSection,
    budget: Budget,
    say: Callable[[str], None],
    trust_remote_code: bool,
    looks_only: bool = False,
) -> Teacher:
    """The teacher that a section describes.

    Args:
        budget: pays for what it asks by itself.
        say: shows a line to the user.
        looks_only: it will not be asked.

    Raises:
        UserError: it cannot be had.
    """
    if isinstance(section, EndpointSection):
        from categorize.labeling.teachers.endpoint import EndpointTeacher

        return EndpointTeacher(section, budget, say, looks_only)
    if isinstance(section, BatchFileSection):
        from categorize.labeling.teachers.batch_file import BatchFileTeacher

        return BatchFileTeacher(section)
    if isinstance(section, LocalSection) and section.mode == "generation":
        from categorize.labeling.teachers.local import LocalTeacher

        return LocalTeacher(section, trust_remote_code)
    raise UserError(f"labeling.teacher.type: {getattr(section, 'type', None)} is not asked row by row")


def pace_of(section: TeacherSection) -> Pace:
    """How fast a teacher is asked."""
    if isinstance(section, EndpointSection):
        return Pace.of(section)
    return Pace(concurrency=workers_of(section))


def workers_of(section: TeacherSection) -> int:
    """Requests that a teacher may get at a time, at most."""
    if isinstance(section, EndpointSection):
        return section.max_concurrency if section.concurrency == "adaptive" else section.concurrency
    if isinstance(section, LocalSection):
        return 2 * section.batch_size  # one batch waits while another is generated
    return 8
