"""Core: what everything else stands on: errors, typed configuration, files, sizes, labels."""
