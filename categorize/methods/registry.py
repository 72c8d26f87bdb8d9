"""The methods by name. This is the one place that knows which there are; their modules are imported when they are asked
for.

A package adds a method by an entry point in the group `categorize.methods`, under the method's name:

    [project.entry-points."categorize.methods"]
    keywords = "my_package.keywords:KeywordMethod"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from categorize.errors import UserError
from categorize.methods.method import Method
from categorize.recipe.wording import join
from categorize.recipe.written import working

if TYPE_CHECKING:
    from categorize.recipe.sections import TrainedRecipe
    from categorize.runs.folder import Run

GROUP = "categorize.methods"
BUILT_IN = {
    "head": "categorize.methods.head.method:HeadMethod",
    "two_level": "categorize.methods.two_level.method:TwoLevelMethod",
    "tfidf": "categorize.methods.tfidf.method:TfidfMethod",
    "lexical": "categorize.methods.lexical.method:LexicalMethod",
    "chunks": "categorize.methods.chunks.method:ChunksMethod",
    "embedding": "categorize.methods.embedding.method:EmbeddingMethod",
    "similarity": "categorize.methods.similarity.method:SimilarityMethod",
    "neighbours": "categorize.methods.neighbours.method:NeighboursMethod",
    "contrastive": "categorize.methods.contrastive.method:ContrastiveMethod",
    "sft": "categorize.methods.sft.method:SftMethod",
    "fusion": "categorize.methods.fusion.method:FusionMethod",
    "cascade": "categorize.methods.cascade.method:CascadeMethod",
}


class Registry(Mapping[str, Method]):
    """Methods by name: the project's own, those of installed packages, and those that were registered by a call.

    Args:
        built_in: name -> `module:class`.
    """

    def __init__(self, built_in: Mapping[str, str]) -> None:
        self._built_in = [EntryPoint(name, place, GROUP) for name, place in built_in.items()]
        self._methods: dict[str, Method] = {}

    def register(self, method: type[Method]) -> type[Method]:
        """Add a method under its name; a call, or a decorator of its class.

        Raises:
            ValueError: there is a method of that name.
        """
        if method.name in self:
            raise ValueError(f"there is a method {method.name!r} already; name this one otherwise")
        self._methods[method.name] = method()
        return method

    @cached_property
    def _places(self) -> dict[str, EntryPoint]:
        """Where the methods are that have a place; the project's own go before others of their name."""
        places: dict[str, EntryPoint] = {}
        for place in (*self._built_in, *entry_points(group=GROUP)):
            places.setdefault(place.name, place)
        return places

    def __getitem__(self, name: str) -> Method:
        if name not in self._methods:
            place = self._places[name]
            try:
                self._methods[name] = place.load()()
            except Exception as error:  # whatever a package raises
                reason = " ".join(str(error).split())
                raise UserError(
                    f"model.method: {name} ({place.value}) cannot be imported: {reason}; fix or uninstall its package"
                ) from error
        return self._methods[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._methods]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._methods

    def of(self, recipe: TrainedRecipe) -> Method:
        """The method of a recipe: what its `model.method` names, or the only one of its kind."""
        name = getattr(recipe.model, "method", None)
        return self[name] if name is not None else next(one for one in working(self) if one.kind == recipe.kind)

    def of_run(self, run: Run) -> Method:
        """The method that made a finished run. Raises UserError where it is not known here."""
        if run.method in self:
            return self[run.method]
        raise UserError(
            f"{run.path}: method {run.method!r} is unknown here (known: {join(list(self), 'and')}); it was made by "
            f"a newer version, or by a package that is not installed"
        )

    def name_by_files(self, run: Run) -> str | None:
        """The method that is training a run, told by its first file; None where none is there yet."""
        return next((one.name for one in working(self) if run.has(one.files[0])), None)

    @property
    def files(self) -> set[str]:
        """What any method leaves in a run beside weights."""
        return {file for one in working(self) for file in one.files}


METHODS: Registry = Registry(BUILT_IN)
