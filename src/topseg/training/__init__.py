"""Training: from a recipe to weights, one step after another."""
