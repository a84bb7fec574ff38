"""`evaluate detections`: AP and AR of a front end, alone and with a model behind it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.arguments import share, whole_number
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation import rows as row_names
from sameo_model.evaluation.bootstrap import DEFAULT_REPLICATES
from sameo_model.evaluation.buckets import BUCKETS
from sameo_model.evaluation.built_in import (
    BUILT_IN,
    box_lines,
    find_built_in,
    score_found_boxes,
)
from sameo_model.evaluation.data_options import (
    TruthSet,
    add_data_options,
    check_amodal,
    has_amodal,
    open_truth,
)
from sameo_model.evaluation.detection_choice import check_thresholds, thin_out
from sameo_model.evaluation.detection_results import calibration, summarise_rows
from sameo_model.evaluation.detections import Detection, boxes_of
from sameo_model.evaluation.front_ends.doubts import note_boxes_elsewhere
from sameo_model.evaluation.front_ends.reading import (
    FORMATS,
    DetectionSet,
    ReadOptions,
    read_detections,
)
from sameo_model.evaluation.instance_scores import PredictedObject
from sameo_model.evaluation.matching import MatchSettings
from sameo_model.evaluation.model_options import (
    DEFAULT_BACKEND,
    NO_MODEL,
    add_model_options,
    check_model_options,
    open_model,
)
from sameo_model.evaluation.paper_tables import rows_for
from sameo_model.evaluation.predictions import Clock, predict_images
from sameo_model.evaluation.predictors import open_predictor
from sameo_model.evaluation.report.qualitative import (
    WantedObjects,
    choose_columns,
    find_objects,
    parse_objects,
    with_answers,
)
from sameo_model.evaluation.result_files import write_detection_files
from sameo_model.evaluation.row_scores import RowScores, score_rows
from sameo_model.evaluation.rows import Row
from sameo_model.evaluation.text_tables import align, difference_lines, row_lines
from sameo_model.runtime.files import write_json

_SUMMARY = "Score the AP and AR of a detector (front end), alone and with a model behind it."


def add_parser(commands: Any) -> None:
    """Add the command's options to `argparse` sub-commands."""
    parser = commands.add_parser("detections", help=_SUMMARY, description=_SUMMARY)
    add_data_options(parser)
    add_model_options(parser, extra_help="; `none` scores the masks in the detections themselves")
    add = parser.add_argument
    add(
        "--detections",
        type=Path,
        required=True,
        metavar="R.json",
        help=f"the front end's results; `{BUILT_IN}` runs the detector of the model's bundle",
    )
    add(
        "--format",
        choices=FORMATS,
        default="auto",
        help="of the file of detections (default: by suffix)",
    )
    add(
        "--box-format",
        choices=("xywh", "xyxy"),
        default="xywh",
        help="how JSON files write boxes (default xywh)",
    )
    add("--mask-key", default="segmentation", metavar="KEY", help="key of the mask in JSON files")
    add("--class-names", default="", metavar="A,B", help="the detector's classes in its order")
    add("--front-end", default="", metavar="NAME", help="name of the detector, for reports")
    add(
        "--boxes",
        choices=("visible", "amodal"),
        default="visible",
        help="what the front end's boxes enclose (default visible)",
    )
    add("--no-rescore", action="store_true", help="keep the front end's scores (table 4)")
    add("--class-specific", action="store_true", help="match within classes (tables A and B)")
    most = whole_number(1)
    add(
        "--max-dets", type=most, default=100, metavar="N", help="detections per image (default 100)"
    )
    add("--nms", type=share, metavar="IOU", help="drop boxes that overlap a better one, any class")
    add("--score-threshold", type=float, metavar="S", help="drop detections with lower scores")
    add("--buckets", choices=tuple(BUCKETS), default="none", help="AP by size or visible share")
    add(
        "--uoais-threshold",
        type=float,
        default=0.5,
        metavar="S",
        help="score from which a detection counts for the UOAIS measures, and is drawn on the "
        "report's images (default 0.5)",
    )
    add(
        "--replicates",
        type=whole_number(0),
        default=DEFAULT_REPLICATES,
        metavar="N",
        help="bootstrap samples of the images (default %(default)s, 0 for none)",
    )
    add(
        "--seed",
        type=whole_number(0),
        default=0,
        help="of the bootstrap and of the report's images (default 0)",
    )
    add("--report", type=Path, metavar="DIR", help="write a page with charts and figures here")
    add(
        "--objects",
        metavar="N,...",
        help="with --report: annotations (N or IMAGE:N) for a figure, figure.png",
    )
    add(
        "--columns",
        metavar="A,B,...",
        help="of the figure: photograph, truth, or rows of the table (default: photograph, "
        "front_end, visible_decoder, sameo, truth, as far as they exist)",
    )
    add("--json", type=Path, metavar="OUT", help="write the result here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; see `sameo_model.evaluate`."""
    clock = Clock()
    check_model_options(options)
    numbers = _check_figure(options)
    truth = open_truth(options)
    is_built_in = str(options.detections) == BUILT_IN
    boxes_alone = is_built_in and not has_amodal(truth)
    if boxes_alone:
        _check_boxes_alone(options)
    else:
        check_amodal(options, truth)
    objects = find_objects(numbers, truth.images) if numbers else []
    if is_built_in:
        check_thresholds(options, [])  # its scores lie from 0 to 1
        found = _find_built_in(options, truth, clock)
    else:
        found = _read(options, truth)
        check_thresholds(options, found.detections)
    detections = thin_out(options, found.detections, truth.images)
    notes = [*truth.notes, *found.notes]
    if not is_built_in:
        notes += note_boxes_elsewhere(truth.images, detections, options.boxes)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if boxes_alone:
        _score_boxes_alone(options, truth, detections, notes, clock)
        return 0
    boxes = None
    if is_built_in:
        boxes = score_found_boxes(truth.images, detections, ("visible", "amodal"))
    built = _build_rows(options, truth.images, found, detections, clock)
    headline = _headline(options)
    scores = score_rows(
        truth.images,
        built.rows,
        MatchSettings(options.class_specific, options.max_dets, BUCKETS[options.buckets]),
        uoais_from_score=options.uoais_threshold,
        workers=options.workers,
        progress=True,
    )
    result = summarise_rows(
        truth.images,
        scores,
        headline,
        BUCKETS[options.buckets],
        replicates=options.replicates,
        seed=options.seed,
    )
    result |= {
        "num_images": len(truth.images),
        "num_truths": len(scores[headline].truths),
        "num_detections": sum(len(items) for items in detections.values()),
        "boxes": boxes,
        "calibration": _calibration(built.answers, scores),
        "paper": rows_for(options.dataset, class_specific=options.class_specific),
        "settings": {
            **_settings(options),
            "format": found.format,
            **built.description,
            **clock.settings(),
            "notes": notes,
        },
    }
    print(align(row_lines(result)))
    if result["differences"]:
        print(align(difference_lines(result)))
    if boxes:
        print(align(box_lines(boxes)))
    if options.json:
        write_detection_files(options.json, result, truth.images, scores)
    if options.report:
        more = [] if options.boxes == "amodal" else [_random_images(options, truth, detections)]
        _write_report(options, result, truth.images, built.rows, scores, objects, more)
        print(f"report: {options.report / 'index.html'}")
    return 0


def _write_report(
    options: argparse.Namespace,
    result: Mapping[str, Any],
    images: Sequence[AmodalImage],
    rows: Sequence[Row],
    scores: Mapping[str, RowScores],
    objects: WantedObjects,
    more_sections: Sequence[tuple[str, str]],
) -> None:
    from sameo_model.evaluation.report.detections_report import write_detections_report

    columns = choose_columns(options.columns, [row.name for row in rows])
    chosen = with_answers(objects, rows, scores[result["headline"]])
    write_detections_report(
        options.report, result, images, rows, scores, chosen, columns, more_sections
    )


def _check_figure(options: argparse.Namespace) -> list[tuple[int | None, int]]:
    """Return the numbers of the objects that the figure shows; none without a figure."""
    if (options.objects or options.columns) and not (options.objects and options.report):
        raise ValueError("--objects needs --report, and --columns needs --objects; give both")
    return parse_objects(options.objects) if options.objects else []


def _find_built_in(options: argparse.Namespace, truth: TruthSet, clock: Clock) -> DetectionSet:
    """Run the model's own detector."""
    has_classes = options.class_specific or options.class_names
    if options.model == NO_MODEL or has_classes or options.boxes == "amodal":
        raise ValueError(
            f"--detections {BUILT_IN} needs a --model, and leaves out --class-specific, "
            "--class-names and --boxes amodal: the detector gives visible boxes without classes"
        )
    with (
        clock.model_time(),
        open_predictor(
            options.model,
            options.backend or DEFAULT_BACKEND,
            threads=options.threads,
            precision=options.precision,
        ) as predictor,
    ):
        return DetectionSet(BUILT_IN, find_built_in(predictor, truth.images, options.max_dets))


def _check_boxes_alone(options: argparse.Namespace) -> None:
    """Refuse options that have no meaning without whole shapes."""
    given = {
        "--buckets": options.buckets != "none",
        "--objects": options.objects,
        "--predictions": options.predictions,
    }
    if names := [name for name, is_given in given.items() if is_given]:
        raise ValueError(
            f"{names[0]} needs whole shapes, but {options.annotations} ({options.dataset}) "
            f"annotates the visible part of each object alone; leave it out, and boxes are scored"
        )


def _score_boxes_alone(
    options: argparse.Namespace,
    truth: TruthSet,
    detections: Mapping[int, Sequence[Detection]],
    notes: Sequence[str],
    clock: Clock,
) -> None:
    """Score the boxes of the detector where only visible parts are annotated."""
    boxes = score_found_boxes(truth.images, detections, ("visible",))
    result = {
        "boxes": boxes,
        "num_images": len(truth.images),
        "num_truths": sum(len(image.instances) for image in truth.images),
        "settings": {**_settings(options), **clock.settings(), "notes": list(notes)},
    }
    print("note: there are no whole shapes to compare with, so boxes alone are scored")
    print(align(box_lines(boxes)))
    if options.json:
        write_json(options.json, result, indent=2)
    if options.report:
        from sameo_model.evaluation.report.found_boxes import write_boxes_report

        write_boxes_report(options.report, result, _random_images(options, truth, detections))
        print(f"report: {options.report / 'index.html'}")


def _random_images(
    options: argparse.Namespace, truth: TruthSet, detections: Mapping[int, Sequence[Detection]]
) -> tuple[str, str]:
    """Return the part of a report that shows found boxes."""
    from sameo_model.evaluation.report.found_boxes import found_boxes_section

    return found_boxes_section(truth.images, detections, options.uoais_threshold, options.seed)


def _read(options: argparse.Namespace, truth: TruthSet) -> DetectionSet:
    """Read the detections of the evaluated images."""
    found = read_detections(
        options.detections,
        truth.all_images,
        truth.categories,
        ReadOptions(
            format=options.format,
            box_format=options.box_format,
            mask_key=options.mask_key,
            class_specific=options.class_specific,
            used_classes={number for number, _ in truth.all_images.categories},
            class_names=[name for name in options.class_names.split(",") if name],
            for_prompting=options.model != NO_MODEL,
            images_dir=options.images,
        ),
    )
    if options.model == NO_MODEL and not found.has_masks:
        raise ValueError(
            f"detections in {options.detections} must have masks to be scored without a model, "
            f"but none has; give --model"
        )
    return found


@dataclass(frozen=True)
class _BuiltRows:
    """The rows of the table, and what the model answered and what it is."""

    rows: list[Row]
    answers: dict[int, list[PredictedObject]] = field(default_factory=dict)
    description: dict[str, str] = field(default_factory=dict)


def _build_rows(
    options: argparse.Namespace,
    images: Sequence[AmodalImage],
    found: DetectionSet,
    detections: Mapping[int, list[Detection]],
    clock: Clock,
) -> _BuiltRows:
    rows = [row_names.front_end_row(detections, options.boxes)] if found.has_masks else []
    rows.append(row_names.true_visible_row(images, detections, options.boxes))
    names = [row.name for row in rows]
    if options.model == NO_MODEL:
        choose_columns(options.columns, names)
        return _BuiltRows(rows)
    if not options.no_rescore:
        _check_scores(detections)
    with_boxes = [image for image in images if detections.get(image.image_id)]
    boxes = {image.image_id: boxes_of(detections[image.image_id]) for image in with_boxes}
    with open_model(options, with_boxes, boxes, clock) as model:
        more = row_names.names_of_model_rows(model.predictor.has_visible_decoder)
        # A wrong one is refused before the model runs.
        choose_columns(options.columns, [*names, *more])
        predictions = predict_images(model.predictor, with_boxes, boxes, **model.arguments)
        answers = {image.image_id: objects for image, objects in predictions}
        description = dict(model.description)
    rows += row_names.model_rows(with_boxes, detections, answers)
    return _BuiltRows(rows, answers, description)


def _check_scores(detections: Mapping[int, Sequence[Detection]]) -> None:
    scores = [item.score for items in detections.values() for item in items]
    if scores and not 0 <= min(scores) <= max(scores) <= 1:
        raise ValueError(
            f"scores must lie in [0, 1] to be multiplied by the predicted IoU, got {min(scores):g} "
            f"to {max(scores):g}; give probabilities, or --no-rescore"
        )


def _headline(options: argparse.Namespace) -> str:
    if options.model == NO_MODEL:
        return row_names.FRONT_END
    return row_names.SAMEO_PLAIN if options.no_rescore else row_names.SAMEO


def _calibration(
    answers: Mapping[int, Sequence[PredictedObject]], scores: Mapping[str, RowScores]
) -> dict[str, Any] | None:
    """Compare the model's predicted IoU with the true one; None without a model."""
    if not answers:
        return None
    predicted = np.array([item.predicted_iou for items in answers.values() for item in items])
    best = scores[row_names.SAMEO].best_ious
    true_ious = np.concatenate([best[image_id] for image_id in answers])
    counted = ~np.isnan(true_ious)
    return calibration(predicted[counted].tolist(), true_ious[counted])


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    hidden = {"run", "command", "workers", "threads", "batch_size", "predictions", "json", "report"}
    return {
        "command": "detections",
        **{
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(options).items()
            if name not in hidden
        },
    }
