"""The error that ends the set-up with one readable sentence."""


class SetupError(Exception):
    """Something that the user has to put right; the message says what and how."""
