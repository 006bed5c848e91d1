"""Bundle: a model in a folder, its card, and where models come from."""
