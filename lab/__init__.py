"""What imitates the cloud on this machine: Docker services sized like EMR's nodes, their keys, and what they need."""
