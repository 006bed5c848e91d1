"""Layouts: how data sets lie on disk, one file for each layout."""
