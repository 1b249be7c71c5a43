"""What a job needs besides itself: Python packages and jars, found on this machine, as the nodes reach no index."""
