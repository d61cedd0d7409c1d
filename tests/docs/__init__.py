"""The documents say what is true: their commands run, their blocks load."""
