"""Training of SAMEO: losses, configuration, samples and the trainer."""
