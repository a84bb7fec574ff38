"""A page in the browser for trying a model on one's own images."""
