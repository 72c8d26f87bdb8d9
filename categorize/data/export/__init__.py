"""Loaded data as tables and as a folder with a datasheet, by `folder`."""
