"""Break something on purpose, and watch from outside whether the loop heals it."""
