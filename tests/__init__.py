"""The tests of opsloop: one folder a package, and `house` for the repository itself."""
