"""The EMR lab: Amazon EMR's API in a container, and on each node the instance controller that does what it says."""
