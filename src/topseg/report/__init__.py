"""Report: one HTML file about a run, that needs nothing beside it."""
