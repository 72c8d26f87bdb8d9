"""A look at a file of which nothing is known yet: its columns, what they seem to be, and a recipe to start from."""
