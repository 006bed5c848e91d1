"""Evaluation: how good a model is, and how fast."""
