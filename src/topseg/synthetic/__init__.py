"""Synthetic: drawn scenes, the data of the demo and of tests."""
