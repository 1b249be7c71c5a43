"""Amazon EMR from the laptop: the account, the cluster's request, the package for its nodes, following a run, money."""
