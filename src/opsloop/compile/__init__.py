"""Catalog in, bundle out: pure functions from a catalog to the text of every file."""
