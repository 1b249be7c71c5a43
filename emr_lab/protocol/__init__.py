"""What the endpoint and the nodes speak with each other."""
