"""Jobs that nobody here wrote, taken from installed packages when the tests run, on every target."""
