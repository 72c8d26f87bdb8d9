"""categorize: recipes for sorting text into categories with encoders and LLMs."""

__version__ = "0.1.0"
