"""What grows with the number of images, and what must not: a run of a million, and parts of it with far more."""
