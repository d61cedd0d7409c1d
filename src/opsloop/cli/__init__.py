"""The command line: one file per command, each parses, calls, prints and gives an exit code."""
