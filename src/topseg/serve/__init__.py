"""Serve: a bundle as a service for programs, and as a page for people."""
