"""Export: a model becomes a bundle of graphs, each proven on its own engine."""
