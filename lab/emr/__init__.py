"""The lab's Amazon EMR: an API endpoint, and on each node the instance controller that does what it says."""
