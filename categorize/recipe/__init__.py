"""The recipe: one YAML file that says everything about a run, read strictly and without any heavy import.

`load.load_recipe` reads one, `command.main` is the command line of every entry script, `check` and `schema` are tools
for the repository. Methods are handed in, none is imported. The modules build on each other in this order: `problems`,
`wording`, `scalars` < `nodes` < `extends`, `overrides` < `written`, `hints` < `upstream` < `sections` < `typecheck`,
`compatibility` < `load` < `command`, `check`, `schema`, `reference`.
"""
