"""Benchmarks, one file per subject: `python -m benchmarks.NAME [--quick] [--json]`."""
