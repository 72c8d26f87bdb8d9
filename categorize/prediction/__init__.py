"""Predictors, and the way from a run folder, a Hub id or a base model to one."""
