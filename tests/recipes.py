"""Recipes read, and made, as the entry scripts do: with the methods that there are."""

from __future__ import annotations

from functools import partial

from categorize.methods.registry import METHODS
from categorize.recipe import load
from categorize.recipe.sections import recipe_classes

load_recipe = partial(load.load_recipe, methods=METHODS)
SeqclsRecipe = recipe_classes(METHODS)["seqcls"]
SftRecipe = recipe_classes(METHODS)["sft"]
