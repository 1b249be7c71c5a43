"""Speed, memory and cost beside peers, as ratios measured in one run."""
