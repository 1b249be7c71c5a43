"""A node of the EMR lab: its instance controller, and what this starts: daemons, bootstrap actions and steps."""
