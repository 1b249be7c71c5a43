"""The endpoint: answers EMR's API, and leads its clusters through their lives by the nodes' instance controllers."""
