"""What more than one room needs, out of Python's standard library alone; `pipeline/` does without it."""
