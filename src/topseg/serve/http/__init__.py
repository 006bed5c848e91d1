"""HTTP: the application, what stands before it, and what its bodies are."""
