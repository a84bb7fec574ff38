"""SAMEO, amodal instance masks from an image and boxes: model, training, evaluation and runtime.

Importing this package imports nothing else: a robot loads `sameo_model.runtime` without PyTorch.
"""

__version__ = "0.2.0"
