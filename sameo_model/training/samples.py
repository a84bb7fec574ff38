"""Training samples: an image, several boxes in it and the true masks behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sameo_model.data.prompts import jitter_boxes_xyxy, mask_to_box_xyxy
from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.runtime.preprocess import resize_image
from sameo_model.training.augment import (
    Scene,
    drop_unusable,
    flip,
    jitter_colours,
    paste_occluder,
    random_window,
)

MAX_TRIES = 20


@dataclass(frozen=True)
class SampleOptions:
    """How a training sample is drawn.

    Attributes:
        boxes_per_image: boxes K drawn from each image.
        target_stride: model input pixels per pixel of the true masks (4 is the logits' own).
        prompt: `visible`, `amodal` or `random` (each with equal probability, section 3.1): the
            true mask whose tight box is the prompt.
        box_jitter: each side of the box moves by up to this share of the box's size.
        augment: random window, mirror image and colours.
        paste: probability of pasting a whole object of another image over this one.
        min_window: smallest window as a share of the image's side.
    """

    boxes_per_image: int = 8
    target_stride: int = 4
    prompt: Literal["random", "visible", "amodal"] = "random"
    box_jitter: float = 0.0
    augment: bool = True
    paste: float = 0.0
    min_window: float = 0.5


@dataclass(frozen=True)
class Source:
    """Images of one data set and their relative share of the samples (0: their number)."""

    images: Sequence[AmodalImage]
    weight: float = 0.0


class TrainingSamples(Dataset):
    """Endless, random-access stream of samples; sample `n` depends on the seed and `n` alone.

    This makes resuming exact: a run that continues at sample n sees what it would have seen.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: SampleOptions,
        *,
        image_size: int,
        seed: int,
    ) -> None:
        """Draw samples from `sources` for a square model input of side `image_size`.

        Raises:
            ValueError: If there are no images.
        """
        sources = [source for source in sources if len(source.images)]
        if not sources:
            raise ValueError("the training set must hold at least one image, got none")
        weights = np.array([source.weight or len(source.images) for source in sources], float)
        self.images = [source.images for source in sources]
        self.probabilities = weights / weights.sum()
        self.options = options
        self.image_size = image_size
        self.seed = seed

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return sample `index`.

        Returns:
            `image` uint8 (3, S, S) RGB; `boxes_xyxy` float32 (K, 4), model input pixels;
            `amodal` and `visible` bool (K, S / target_stride, S / target_stride), true masks.
        """
        generator = np.random.default_rng([self.seed, index])
        for _ in range(MAX_TRIES):
            scene = self._draw_scene(generator)
            if len(scene.amodal_masks):
                return self._to_sample(scene, generator)
        raise RuntimeError(
            f"no usable instance found in {MAX_TRIES} random images; check the data set with "
            "`python -m sameo_model.datasets check`"
        )

    def _draw_image(self, generator: np.random.Generator) -> AmodalImage:
        images = self.images[int(generator.choice(len(self.images), p=self.probabilities))]
        return images[int(generator.integers(len(images)))]

    def _draw_scene(self, generator: np.random.Generator) -> Scene:
        options = self.options
        image = self._draw_image(generator)
        instances = [i for i in image.instances if i.occlusion_rate is not None]
        generator.shuffle(instances)
        scene = _load_scene(image, instances[: 2 * options.boxes_per_image])
        if len(scene.amodal_masks) and generator.random() < options.paste:
            scene = self._paste(scene, generator)
        if options.augment:
            scene = random_window(scene, generator, options.min_window)
            if generator.random() < 0.5:
                scene = flip(scene, axis=1)
        return drop_unusable(scene)

    def _paste(self, scene: Scene, generator: np.random.Generator) -> Scene:
        donor = self._draw_image(generator)
        whole = [i for i in donor.instances if i.occlusion_rate == 0]
        if not whole:
            return scene
        mask = whole[int(generator.integers(len(whole)))].amodal_mask()
        x1, y1, x2, y2 = mask_to_box_xyxy(mask).astype(int)
        if (x2 - x1) * (y2 - y1) < 400:
            return scene
        cutout = donor.load_rgb()[y1:y2, x1:x2]
        return paste_occluder(scene, cutout, mask[y1:y2, x1:x2], generator)

    def _to_sample(self, scene: Scene, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        options = self.options
        count = len(scene.amodal_masks)
        rows = generator.permutation(count)[: options.boxes_per_image]
        if count < options.boxes_per_image:
            extra = generator.integers(0, count, options.boxes_per_image - count)
            rows = np.concatenate([rows, extra])
        image = resize_image(np.ascontiguousarray(scene.image_rgb), self.image_size)
        if options.augment:
            image = jitter_colours(image, generator)
        side = self.image_size // options.target_stride
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "boxes_xyxy": torch.from_numpy(self._boxes(scene, rows, generator)),
            "amodal": torch.from_numpy(_resize_masks(scene.amodal_masks[rows], side)),
            "visible": torch.from_numpy(_resize_masks(scene.visible_masks[rows], side)),
        }

    def _boxes(
        self, scene: Scene, rows: NDArray[np.intp], generator: np.random.Generator
    ) -> NDArray[np.float32]:
        options = self.options
        amodal_prompt = {
            "amodal": np.ones(len(rows), bool),
            "visible": np.zeros(len(rows), bool),
            "random": generator.random(len(rows)) < 0.5,
        }[options.prompt]
        masks = np.where(
            amodal_prompt[:, None, None], scene.amodal_masks[rows], scene.visible_masks[rows]
        )
        boxes = np.stack([mask_to_box_xyxy(mask) for mask in masks])
        height, width = scene.image_rgb.shape[:2]
        if options.box_jitter:
            boxes = jitter_boxes_xyxy(boxes, options.box_jitter, generator, (height, width))
        scale = np.array([self.image_size / width, self.image_size / height] * 2)
        return (boxes * scale).astype(np.float32)


def _load_scene(image: AmodalImage, instances: list[AmodalInstance]) -> Scene:
    height, width = image.image_hw
    amodal = np.zeros((len(instances), height, width), bool)
    visible = np.zeros_like(amodal)
    for row, instance in enumerate(instances):
        amodal[row] = instance.amodal_mask()
        visible[row] = instance.visible_mask()
    return Scene(image.load_rgb(), amodal, visible)


def _resize_masks(masks: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    grey = np.ascontiguousarray(masks, dtype=np.uint8) * 255
    return np.stack(
        [cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) > 127 for mask in grey]
    )
