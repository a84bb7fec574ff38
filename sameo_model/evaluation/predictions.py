"""Run a model over the boxes of many images, with a progress bar, a clock and shards on disk."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sameo_model.data.parallel import chunked
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.crops import crop_to_rle, rle_to_crop
from sameo_model.evaluation.instance_scores import PredictedObject
from sameo_model.runtime import Predictor
from sameo_model.runtime.files import write_whole
from sameo_model.runtime.types import FloatArray, ImageHW, MaskCrop, Prediction, Uint8Array

NUM_AHEAD = 4
SHARD_IMAGES = 64
RUN_FILE = "run.json"
_SHARD_FORMAT = 1


@dataclass
class Clock:
    """Where the time went."""

    model_s: float = 0.0  # seconds of loading the model and inside its encode and decode
    num_predicted: int = 0  # images that the model saw; the others came from shards
    _started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def model_time(self) -> Iterator[None]:
        """Count the time inside the block as the model's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.model_s += time.perf_counter() - started

    def settings(self) -> dict[str, float | int | None]:
        """Return how fast the run was so far; None where all predictions came from shards."""
        seconds = time.perf_counter() - self._started
        fresh = self.num_predicted
        return {
            "seconds": round(seconds, 3),
            "seconds_model": round(self.model_s, 3),
            "images_predicted": fresh,
            "images_per_second": round(fresh / seconds, 3) if fresh else None,
            "share_outside_model": round(1 - self.model_s / seconds, 4) if fresh else None,
        }


class PredictionStore:
    """Predictions on disk in shards of 64 images, so that an interrupted run continues."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Open or make a folder.

        Raises:
            ValueError: If the folder holds another run.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        run_path = folder / RUN_FILE
        if run_path.exists():
            found = json.loads(run_path.read_text()).get("fingerprint")
            if found != fingerprint:
                raise ValueError(
                    f"folder {folder} holds predictions of another model, other settings or other "
                    f"boxes; give another --predictions folder"
                )
        else:
            write_whole(run_path, json.dumps({"fingerprint": fingerprint}) + "\n")

    def read(self, number: int) -> list[list[PredictedObject]] | None:
        """Return the objects of each image of a shard; None if it was not written yet."""
        path = self._path(number)
        if not path.exists():
            return None
        content = json.loads(path.read_bytes())
        return [
            [_from_json(item, tuple(image["size"])) for item in image["objects"]]
            for image in content["images"]
        ]

    def write(
        self, number: int, images: Sequence[AmodalImage], objects: Sequence[list[PredictedObject]]
    ) -> None:
        """Write a shard, whole or not at all."""
        content = [
            {
                "image_id": image.image_id,
                "size": list(image.image_hw),
                "objects": [_to_json(item, image.image_hw) for item in items],
            }
            for image, items in zip(images, objects, strict=True)
        ]
        text = json.dumps({"format": _SHARD_FORMAT, "images": content})
        write_whole(self._path(number), text + "\n")

    def _path(self, number: int) -> Path:
        return self.folder / f"shard_{number:05d}.json"


def fingerprint_run(
    model: str,
    images: Sequence[AmodalImage],
    boxes: Mapping[int, FloatArray],
    points: Mapping[int, FloatArray] | None = None,
) -> str:
    """Return a text that changes with the model, the images or their boxes.

    Args:
        model: Names the model and how it runs.
    """
    digest = hashlib.sha256(f"{_SHARD_FORMAT} {SHARD_IMAGES} {model}".encode())
    for image in images:
        digest.update(f"{image.image_id} {image.path.name} {image.image_hw}".encode())
        digest.update(boxes[image.image_id].tobytes())
        if points and image.image_id in points:
            digest.update(points[image.image_id].tobytes())
    return digest.hexdigest()


def predict_images(
    predictor: Predictor,
    images: Sequence[AmodalImage],
    boxes: Mapping[int, FloatArray],
    *,
    points: Mapping[int, FloatArray] | None = None,
    store: PredictionStore | None = None,
    batch_size: int = 1,
    clock: Clock | None = None,
    progress: bool = False,
) -> Iterator[tuple[AmodalImage, list[PredictedObject]]]:
    """Yield each image with what the model answers to its boxes, in the order of both.

    Args:
        boxes: float32 (N, 4) by image id, x1, y1, x2, y2 in pixels; N may be 0.
        points: float32 (N, P, 2) by image id, clicks beside the boxes, pixels; images that are not
            named have none.
        store: Where to keep and find predictions; None keeps none.
        batch_size: Images that are encoded together, where the backend can.
    """
    clock = clock or Clock()
    with tqdm(total=len(images), desc="predict", unit="image", disable=not progress) as bar:
        for number, shard in enumerate(chunked(images, SHARD_IMAGES)):
            known = store.read(number) if store else None
            rows: list[list[PredictedObject]] = []
            fresh = _predict_shard(predictor, shard, boxes, points or {}, batch_size, clock)
            for image, objects in zip(shard, known if known is not None else fresh, strict=True):
                bar.update()
                if store and known is None:
                    rows.append(objects)
                yield image, objects
            if store and known is None:
                store.write(number, shard, rows)


def _predict_shard(
    predictor: Predictor,
    images: Sequence[AmodalImage],
    boxes: Mapping[int, FloatArray],
    points: Mapping[int, FloatArray],
    batch_size: int,
    clock: Clock,
) -> Iterator[list[PredictedObject]]:
    encode_batch = getattr(predictor, "encode_batch", None)
    for batch in chunked(_load_ahead(images), batch_size):
        pixels = [image_rgb for _, image_rgb in batch]
        with clock.model_time():
            if encode_batch and len(batch) > 1:
                embeddings = encode_batch(pixels)
            else:
                embeddings = [predictor.encode(image_rgb) for image_rgb in pixels]
        for (image, _), embedding in zip(batch, embeddings, strict=True):
            with clock.model_time():
                number = image.image_id
                prediction = predictor.decode(
                    embedding, boxes[number], points_xy=points.get(number)
                )
            clock.num_predicted += 1
            yield predicted_objects(prediction)


def _load_ahead(images: Iterable[AmodalImage]) -> Iterator[tuple[AmodalImage, Uint8Array]]:
    """Yield each image with its pixels, uint8 (H, W, 3) RGB; threads load the next ones."""
    waiting: deque[tuple[AmodalImage, Future]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for image in images:
            waiting.append((image, pool.submit(image.load_rgb)))
            if len(waiting) > NUM_AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for image, future in waiting:
            yield image, future.result()


def predicted_objects(prediction: Prediction) -> list[PredictedObject]:
    """Split a prediction into its objects, in the order of the boxes."""
    unknown: list[MaskCrop | None] = [None] * len(prediction)
    visible_masks = unknown if prediction.visible_masks is None else prediction.visible_masks
    return [
        PredictedObject(amodal, visible, float(predicted_iou))
        for amodal, visible, predicted_iou in zip(
            prediction.amodal_masks, visible_masks, prediction.predicted_iou, strict=True
        )
    ]


def _to_json(item: PredictedObject, image_hw: ImageHW) -> dict[str, Any]:
    visible = item.visible
    return {
        "amodal": crop_to_rle(item.amodal, image_hw)["counts"].decode("ascii"),
        "visible": visible and crop_to_rle(visible, image_hw)["counts"].decode("ascii"),
        "predicted_iou": item.predicted_iou,
    }


def _from_json(record: Mapping[str, Any], image_hw: ImageHW) -> PredictedObject:
    def to_crop(counts: str) -> MaskCrop:
        return rle_to_crop({"size": list(image_hw), "counts": counts.encode("ascii")})

    visible = record["visible"]
    return PredictedObject(
        to_crop(record["amodal"]), visible and to_crop(visible), record["predicted_iou"]
    )
