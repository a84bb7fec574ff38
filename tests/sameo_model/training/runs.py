"""Short training runs on drawn scenes."""

import torch

from sameo_model.modeling.presets import build_sameo
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.sample_plan import TrainingSet

PARTS = ["image_encoder", "prompt_encoder", "mask_decoder"]

# Steps of four images with different numbers of boxes; sgd moves the weights by the gradient.
RAGGED = {"images_per_step": 4, "seed": 1, "optimiser": {"name": "sgd", "lr": 1.0}}


def ragged_train(folder):
    """Name the drawn scenes twice: with both objects of each image, and with the occluded one."""
    return [{"root": str(folder)}, {"root": str(folder), "min_occlusion": 0.05}]


def make_config(tmp_path, **changes):
    values = {
        "train": [{"root": str(tmp_path / "data")}],
        "trainable": PARTS,
        "samples": {"boxes_per_image": 4, "augment": False},
        "optimiser": {"name": "adamw", "lr": 1e-3, "max_grad_norm": 1.0},
        "images_per_step": 2,
        "steps": 4,
        "workers": 0,
        "log_interval": 1,
        "output": str(tmp_path / "run"),
    }
    return config_from_dict({**values, **changes})


def make_model(preset="sameo_lite", image_size=64):
    """Build a network that draws both masks, EfficientSAM with two decoders."""
    torch.manual_seed(0)
    return build_sameo(preset, image_size, visible_decoder=True)


def make_sources(images):
    return [TrainingSet(images, label="drawn")]


def assert_same_weights(first, second, **tolerance):
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], **(tolerance or {"rtol": 0, "atol": 0}))
