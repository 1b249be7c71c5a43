"""The same job by others: how people commonly write it, each beside ours on the same cores."""
