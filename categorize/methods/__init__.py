"""How a recipe and its data become a run: a room for each method, and the registry of their names."""
