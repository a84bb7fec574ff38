"""Set-up of the virtual environment; `python3 environment/setup` runs it."""
