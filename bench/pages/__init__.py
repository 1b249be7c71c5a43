"""The pages of figures, drawn from their JSON alone: `make bench-pages`; nothing is measured here."""
