"""Turn a network into a model bundle and prove that the bundle gives the same masks."""
