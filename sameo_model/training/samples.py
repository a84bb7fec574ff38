"""Training samples: what the network sees of an image, boxes in it and the true masks behind them.

With image framing a sample has one view, the whole image with several boxes; with window framing it
has a view for each box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from sameo_model.data.isolation import complete_if_isolated
from sameo_model.data.prompts import jitter_boxes_xyxy, mask_to_box_xyxy, random_clicks_xy
from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.runtime.clicks import CLICK, NO_CLICK
from sameo_model.runtime.framing import IMAGE_FRAMING, Framing
from sameo_model.runtime.preprocess import resize_image
from sameo_model.training.augment import Scene, drop_unusable, flip, paste_occluder, random_window
from sameo_model.training.camera import see_through_camera
from sameo_model.training.config import SampleOptions
from sameo_model.training.embedding_cache import EmbeddingCache
from sameo_model.training.found_boxes import PromptFinder
from sameo_model.training.sample_plan import Draw, TrainingSet
from sameo_model.training.windows import Window, make_window

MAX_TRIES = 20
MIN_CUTOUT_PIXELS = 400
PADDED = ("boxes_xyxy", "amodal", "visible", "has_amodal", "points_xy", "point_labels")
"""What a view has for each box."""

Sample = dict[str, Any]
View = dict[str, Tensor]


class UnreadableImageError(Exception):
    """An image file is missing or damaged; `path` is the file, the message says what is wrong."""

    def __init__(self, path: Path, reason: Exception) -> None:
        super().__init__(str(reason))
        self.path = path


class TrainingSamples(Dataset):
    """Samples by `Draw`; a sample depends on the draw and the seed alone."""

    def __init__(
        self,
        sources: Sequence[TrainingSet],
        options: SampleOptions,
        *,
        image_size: int,
        seed: int,
        framing: Framing = IMAGE_FRAMING,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """Prepare samples for a square model input of side `image_size`.

        Args:
            image_size: side of the model input, pixels.
            framing: what the network sees of an image.
            cache: embeddings used instead of images; `options` must not change images then.
        """
        self.sources = sources
        self.options = options
        self.image_size = image_size
        self.seed = seed
        self.framing = framing
        self.cache = cache
        self.prompt_finder = PromptFinder(options.detector) if options.found_boxes else None

    def __getitem__(self, draw: Draw) -> Sample:
        """Return the sample of a draw.

        An image that is unreadable or shows nothing usable is replaced by a random one of the
        same source.

        Returns:
            `views`, a list of dicts with `image` uint8 (3, S, S) RGB, or `embedding` float16
            (256, S/16, S/16) in its place; `boxes_xyxy` float32 (n, 4), model input pixels,
            1 <= n <= K (1 with windows); `amodal` and `visible` bool (n, S / target_stride,
            S / target_stride), true masks; `has_amodal` bool (n,), False where the whole shape is
            not known. Beside them `path` str and `unreadable`, a dict of messages by path of images
            that were skipped.

        Raises:
            RuntimeError: If no usable image was found in `MAX_TRIES` tries.
        """
        generator = np.random.default_rng([self.seed, *draw.stream])
        images = self.sources[draw.source].images
        unreadable: dict[str, str] = {}
        for _ in range(MAX_TRIES):
            image = images[draw.image_index]
            try:
                views = self._make_views(image, draw, generator)
                if views:
                    return {"views": views, "path": str(image.path), "unreadable": unreadable}
            except UnreadableImageError as error:
                unreadable[str(error.path)] = str(error)
            other = int(generator.integers(len(images)))
            draw = replace(draw, image_index=other, instance_indices=None)
        reasons = "; ".join(unreadable.values()) or "all instances are tiny or hidden"
        raise RuntimeError(
            f"no usable image found in {MAX_TRIES} random ones ({reasons}); check the data set "
            "with `python -m sameo_model.datasets check`"
        )

    def _make_views(
        self, image: AmodalImage, draw: Draw, generator: np.random.Generator
    ) -> list[View]:
        """Return the views of an image, none if it shows nothing usable."""
        embedding = self._read_embedding(image)
        instances = self._choose_instances(image, draw, generator)
        pixels = load_pixels(image) if embedding is None else np.zeros((0, 0, 3), np.uint8)
        scene = Scene(pixels, *decode_masks(instances, image.image_hw))
        scene = self._change_scene(scene, generator)
        if not len(scene.amodal_masks):
            return []
        rows = generator.permutation(len(scene.amodal_masks))[: self.options.boxes_per_image]
        boxes_xyxy = self._boxes(scene, rows, generator)
        if self.framing.is_window:
            return [
                self._add_clicks(view, generator)
                for view in self._make_windows(scene, rows, boxes_xyxy, generator)
            ]
        side = self.image_size // self.options.target_stride
        network_input = (
            {"image": self._to_input(scene.image_rgb, generator)}
            if embedding is None
            else {"embedding": torch.from_numpy(embedding)}
        )
        height, width = scene.amodal_masks.shape[1:]
        scale = np.array([self.image_size / width, self.image_size / height] * 2)
        view = {
            **network_input,
            "boxes_xyxy": torch.from_numpy((boxes_xyxy * scale).astype(np.float32)),
            "amodal": torch.from_numpy(_resize_masks(scene.amodal_masks[rows], side)),
            "visible": torch.from_numpy(_resize_masks(scene.visible_masks[rows], side)),
            "has_amodal": torch.from_numpy(scene.has_amodal[rows]),
        }
        return [self._add_clicks(view, generator)]

    def _add_clicks(self, view: View, generator: np.random.Generator) -> View:
        """Click on the visible masks of a view, up to `points` times each, or leave it as it is."""
        if not self.options.points:
            return view
        stride = self.options.target_stride
        points = torch.full((len(view["visible"]), self.options.points, 2), -1.0)
        labels = torch.full(points.shape[:2], float(NO_CLICK))
        for row, mask in enumerate(view["visible"].numpy()):
            count = int(generator.integers(self.options.points + 1))
            if count and mask.any():
                chosen = random_clicks_xy(mask, count, generator)
                points[row, :count] = torch.from_numpy(chosen * stride)
                labels[row, :count] = CLICK
        return {**view, "points_xy": points, "point_labels": labels}

    def _make_windows(
        self,
        scene: Scene,
        rows: NDArray[np.intp],
        boxes_xyxy: NDArray[np.float32],
        generator: np.random.Generator,
    ) -> list[View]:
        options = self.options
        views = []
        for row, box_xyxy in zip(rows.tolist(), boxes_xyxy, strict=True):
            framing = self.framing
            if options.augment:
                framing = replace(framing, padding=float(generator.uniform(*options.padding)))
            window = make_window(
                scene,
                row,
                box_xyxy,
                framing,
                image_size=self.image_size,
                target_size=self.image_size // options.target_stride,
                rng=generator if options.augment else None,
            )
            # A prompt around the visible part may leave nearly all of a hidden shape outside.
            if window.visible_mask.any():
                views.append(_to_view(window, bool(scene.has_amodal[row])))
        return views

    def _choose_instances(
        self, image: AmodalImage, draw: Draw, generator: np.random.Generator
    ) -> list[AmodalInstance]:
        if draw.instance_indices is None:
            # Twice as many: some may be unusable, or fall outside a window.
            order = generator.permutation(len(image.instances))
            chosen = order[: 2 * self.options.boxes_per_image].tolist()
        else:
            chosen = list(draw.instance_indices)
        instances = [image.instances[i] for i in chosen]
        if self.options.isolated_as_whole:
            instances = [complete_if_isolated(item, image) for item in instances]
        return [item for item in instances if item.visible_rle is not None]

    def _change_scene(self, scene: Scene, generator: np.random.Generator) -> Scene:
        options = self.options
        if len(scene.amodal_masks) and generator.random() < options.paste:
            scene = self._paste(scene, generator)
        if options.augment and not self.framing.is_window:
            windowed = drop_unusable(random_window(scene, generator, options.min_window))
            scene = windowed if len(windowed.amodal_masks) else scene
            if generator.random() < 0.5:
                scene = flip(scene, axis=1)
        return drop_unusable(scene)

    def _paste(self, scene: Scene, generator: np.random.Generator) -> Scene:
        sizes = np.array([len(source.images) for source in self.sources])
        images = self.sources[int(generator.choice(len(sizes), p=sizes / sizes.sum()))].images
        donor = images[int(generator.integers(len(images)))]
        whole = [i for i in donor.instances if i.occlusion_rate == 0]
        if not whole:
            return scene
        mask = whole[int(generator.integers(len(whole)))].amodal_mask()
        x1, y1, x2, y2 = mask_to_box_xyxy(mask).astype(int)
        if (x2 - x1) * (y2 - y1) < MIN_CUTOUT_PIXELS:
            return scene
        cutout = load_pixels(donor)[y1:y2, x1:x2]
        return paste_occluder(scene, cutout, mask[y1:y2, x1:x2], generator)

    def _to_input(self, image_rgb: NDArray[np.uint8], generator: np.random.Generator) -> Tensor:
        squashed = resize_image(np.ascontiguousarray(image_rgb), self.image_size)
        if self.options.augment:
            squashed = see_through_camera(squashed, generator)
        return torch.from_numpy(np.ascontiguousarray(squashed.transpose(2, 0, 1)))

    def _read_embedding(self, image: AmodalImage) -> NDArray[np.float16] | None:
        try:
            return self.cache.read(image.path) if self.cache else None
        except OSError as error:
            raise UnreadableImageError(image.path, error) from error

    def _boxes(
        self, scene: Scene, rows: NDArray[np.intp], generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return the prompts, float32 (n, 4) in pixels of the image."""
        options = self.options
        is_amodal_prompt = {
            "amodal": np.ones(len(rows), bool),
            "visible": np.zeros(len(rows), bool),
            "random": generator.random(len(rows)) < options.amodal_prompts,
        }[options.prompt]
        masks = np.where(
            is_amodal_prompt[:, None, None], scene.amodal_masks[rows], scene.visible_masks[rows]
        )
        boxes = np.stack([mask_to_box_xyxy(mask) for mask in masks])
        height, width = scene.amodal_masks.shape[1:]
        if options.box_jitter:
            share = options.box_jitter * generator.random()
            boxes = jitter_boxes_xyxy(boxes, share, generator, (height, width))
        if self.prompt_finder and generator.random() < options.found_boxes:
            visible = np.stack([mask_to_box_xyxy(mask) for mask in scene.visible_masks])
            found = self.prompt_finder.find(scene.image_rgb, visible)[rows]
            boxes = np.where(np.isnan(found), boxes, found)
        return boxes.astype(np.float32)


def collate_step(samples: list[Sample], max_images: int) -> list[dict[str, Any]]:
    """Join the samples of a step with `collate`, at most `max_images` at once (0: all)."""
    size = max_images or len(samples)
    return [collate(samples[i : i + size]) for i in range(0, len(samples), size)]


def collate(samples: list[Sample]) -> dict[str, Any]:
    """Join samples of B views, padded to the most boxes N that one of them has.

    Returns:
        `image` uint8 (B', 3, S, S) and `embedding` float16 (B - B', 256, S/16, S/16), in order,
        told apart by `is_cached` bool (B,); `boxes_xyxy` float32 (B, N, 4); `amodal`, `visible`
        bool (B, N, h, w); `has_amodal` bool (B, N); `is_valid` bool (B, N), False for padding;
        with clicks `points_xy` float32 (B, N, P, 2), model input pixels, and `point_labels`
        float32 (B, N, P);
        `paths` list of B str; `num_images` int, images that the views show;
        `unreadable` dict of messages by path.
    """
    views = [view for sample in samples for view in sample["views"]]
    is_cached = torch.tensor(["embedding" in view for view in views])
    images = [view["image"] for view in views if "image" in view]
    embeddings = [view["embedding"] for view in views if "embedding" in view]
    counts = torch.tensor([len(view["boxes_xyxy"]) for view in views])
    return {
        "image": torch.stack(images) if images else torch.zeros(0, 3, 1, 1, dtype=torch.uint8),
        "embedding": torch.stack(embeddings) if embeddings else torch.zeros(0, 1, 1, 1).half(),
        "is_cached": is_cached,
        **{
            key: pad_sequence([view[key] for view in views], batch_first=True)
            for key in PADDED
            if key in views[0]
        },
        "is_valid": torch.arange(int(counts.max())) < counts[:, None],
        "paths": [sample["path"] for sample in samples for _ in sample["views"]],
        "num_images": len(samples),
        "unreadable": {p: text for s in samples for p, text in s["unreadable"].items()},
    }


def _to_view(window: Window, has_amodal: bool) -> View:
    image = np.ascontiguousarray(window.image_rgb.transpose(2, 0, 1))
    return {
        "image": torch.from_numpy(image),
        "boxes_xyxy": torch.from_numpy(window.box_xyxy[None]),
        "amodal": torch.from_numpy(window.amodal_mask[None].copy()),
        "visible": torch.from_numpy(window.visible_mask[None].copy()),
        "has_amodal": torch.tensor([has_amodal]),
    }


def load_pixels(image: AmodalImage) -> NDArray[np.uint8]:
    """Read an image; an unreadable one raises `UnreadableImageError`."""
    try:
        return image.load_rgb()
    except (OSError, ValueError) as error:
        raise UnreadableImageError(image.path, error) from error


def decode_masks(
    instances: Sequence[AmodalInstance], image_hw: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return amodal masks, visible masks and `has_amodal` as `Scene` has them."""
    visible = np.zeros((len(instances), *image_hw), bool)
    amodal = np.zeros_like(visible)
    for row, instance in enumerate(instances):
        visible[row] = instance.visible_mask()
        amodal[row] = visible[row] if instance.amodal_rle is None else instance.amodal_mask()
    return amodal, visible, np.array([item.amodal_rle is not None for item in instances], bool)


def _resize_masks(masks: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    grey = np.ascontiguousarray(masks, dtype=np.uint8) * 255
    return np.stack(
        [cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) > 127 for mask in grey]
    )
