"""`report.html`: one file without a network, made of a template, a style sheet and a script."""
