"""Settings for the whole test suite."""
