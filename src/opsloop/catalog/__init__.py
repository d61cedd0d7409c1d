"""The catalog: models, loading with places, checks."""
