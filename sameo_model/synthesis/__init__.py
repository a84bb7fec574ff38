"""Training data with exact amodal truth: rendered clutter scenes and composited photographs."""
