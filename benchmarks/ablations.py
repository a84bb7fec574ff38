r"""The paper's ablations in miniature: train variants of the amodal decoder and print tables.

    python -m benchmarks.ablations prompts --init runs/sameo_lite_1_visible/model.safetensors \
        --train data/scenes/train --val data/scenes/val --output runs/ablations

Every variant starts from the stage-1 checkpoint, on cached embeddings, with two seeds. A run that
was stopped goes on where it was; variants that several tables share are trained once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.ablation_figure import draw_over_prediction, measure_over_prediction
from benchmarks.noisy_detections import write_noisy_detections
from sameo_model import evaluate
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.mask_metrics import evaluate_masks
from sameo_model.evaluation.paper_tables import rows_for
from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.modeling.checkpoint import load_checkpoint, save_checkpoint
from sameo_model.modeling.sameo import Sameo
from sameo_model.training.config_loading import load_config
from sameo_model.training.setup import build_model, open_sources
from sameo_model.training.trainer import train
from sameo_model.training.validation import Validation

CONFIG = Path(__file__).parents[1] / "config" / "train" / "ablation.yaml"
SCORES = ("miou_full", "miou_full_occluded", "miou_full_unoccluded", "miou_hidden", "iou_spearman")
BY_PROMPT = ("visible_prompts/miou_full", "amodal_prompts/miou_full")
BASE_READ_OUT = "token0"
BOX_NOISES = (0.0, 0.05, 0.1, 0.2)
PRINTED_PROMPTS = {"amodal": "amodal", "visible": "modal", "random": "random"}
Table = list[list[str]]


@dataclass(frozen=True)
class Bench:
    """What all variants share."""

    options: argparse.Namespace
    images: Sequence[AmodalImage]

    def model(self, overrides: Sequence[str], seed: int) -> Sameo:
        """Return a trained variant: the checkpoint in its folder, or a new run's result."""
        path = self.folder(overrides, seed) / "model.safetensors"
        if not path.exists():
            save_checkpoint(self._train(overrides, path.parent, seed), path)
        return load_checkpoint(path)

    def folder(self, overrides: Sequence[str], seed: int) -> Path:
        """Return a variant's folder."""
        name = "_".join(overrides) or "base"
        safe = "".join(c if c.isalnum() or c in "._=-" else "-" for c in name)
        return Path(self.options.output) / f"{safe}_seed{seed}"

    def _train(self, overrides: Sequence[str], output: Path, seed: int) -> Sameo:
        options = self.options
        source = {"root": str(options.train)}
        settings = [
            f"train=[{json.dumps(source)}]",
            f"init={options.init}",
            f"embedding_cache={options.output / 'embeddings'}",
            f"seed={seed}",
            f"output={output}",
            *([f"steps={options.steps}"] if options.steps else []),
            *(item.replace("TRAIN", str(options.train)) for item in overrides),
        ]
        config = load_config(CONFIG, settings)
        started = time.process_time()
        model = train(config, build_model(config), open_sources(config.train))
        minutes = (time.process_time() - started) / 60
        (output / "cpu_minutes.json").write_text(json.dumps(minutes))
        print(f"{output.name}: {minutes:.1f} minutes of CPU", file=sys.stderr)
        return model

    def scores(self, overrides: Sequence[str]) -> list[dict[str, Any]]:
        """Return each seed's scores, averaged over visible and amodal prompts."""
        validate = Validation(self.images, ("visible", "amodal"))
        return [
            self.keep(overrides, seed, "scores", lambda model: validate(model).scores)
            for seed in self.options.seeds
        ]

    def keep(
        self, overrides: Sequence[str], seed: int, name: str, score: Callable[[Sameo], Any]
    ) -> Any:
        """Return what `score` gives for a variant's amodal decoder, computed once."""
        model = self.model(overrides, seed)
        path = self.folder(overrides, seed) / f"{name}.json"
        if not path.exists():
            model.visible_decoder = None  # the same in all variants, and half of the time
            path.write_text(json.dumps(score(model)))
        return json.loads(path.read_text())


def prompts(bench: Bench) -> Table:
    """Table 5: prompt in training, scored over visible and amodal prompts."""
    paper = {row.training_prompt: row.scores for row in _paper_rows("5")}
    columns = (*SCORES, *BY_PROMPT)
    rows = [["training prompt", *columns, "paper AP", "paper AR"]]
    for kind in PRINTED_PROMPTS:
        overrides = [] if kind == "random" else [f"samples.prompt={kind}"]
        printed = [_percent(paper[kind]["ap"]), _percent(paper[kind]["ar"])]
        rows.append([kind, *_cells(bench.scores(overrides), columns), *printed])
    return rows


def rescoring(bench: Bench) -> Table:
    """Table 4: with and without re-scoring, noisy detections around amodal boxes in front."""
    paper = {row.method: row.scores for row in _paper_rows("4")}
    found: dict[str, list[dict[str, float]]] = {}
    for seed in bench.options.seeds:
        for name, scores in _detection_rows(bench, seed).items():
            found.setdefault(name, []).append(scores)
    rows = [["re-scoring", "AP", "AP50", "AP75", "paper AP", "paper AP50", "paper AP75"]]
    metrics = ("ap", "ap50", "ap75")
    for title, name in (("without", "sameo_no_rescore"), ("with", "sameo")):
        ours = [_mean([scores[metric] for scores in found[name]]) for metric in metrics]
        rows.append([title, *ours, *(_percent(paper[name][metric]) for metric in metrics)])
    return rows


def _detection_rows(bench: Bench, seed: int) -> dict[str, dict[str, float]]:
    bench.model([], seed)
    folder = bench.folder([], seed)
    result = folder / "detections_result.json"
    if not result.exists():
        write_noisy_detections(folder / "detections.json", bench.images, "amodal", seed)
        arguments = {
            "--annotations": bench.options.val / "annotations.json",
            "--images": bench.options.val / "images",
            "--detections": folder / "detections.json",
            "--model": folder / "model.safetensors",
            "--backend": "torch",
            "--boxes": "amodal",
            "--replicates": 0,
            "--json": result,
        }
        words = [str(word) for pair in arguments.items() for word in pair]
        if evaluate.main(["detections", *words]):
            raise RuntimeError("evaluate detections failed; its message is above")
    return {row["name"]: row for row in json.loads(result.read_text())["rows"]}


def occluded_only(bench: Bench) -> Table:
    """Figure 6: training on occluded instances alone; draws what it does to a front object."""
    occluded = ['train=[{root: "TRAIN", min_occlusion: 0.05}]']
    rows = [["training instances", *SCORES, "over-prediction", "paper"]]
    for title, overrides, paper in (
        ("occluded alone", occluded, "over-predicts (figure 6)"),
        ("all", [], "does not (figure 6)"),
    ):
        beyond = [
            bench.keep(overrides, seed, "over_prediction", lambda model: _beyond(bench, model))
            for seed in bench.options.seeds
        ]
        rows.append([title, *_cells(bench.scores(overrides)), _mean(beyond), paper])
    seed = bench.options.seeds[0]
    picture = draw_over_prediction(
        bench.images, wrap_model(bench.model(occluded, seed)), wrap_model(bench.model([], seed))
    )
    path = bench.options.output / "occluded_only.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    print(f"picture (truth, occluded alone, all): {path}")
    return rows


def _beyond(bench: Bench, model: Sameo) -> float:
    return measure_over_prediction(bench.images, wrap_model(model))


def read_outs(bench: Bench) -> Table:
    """Which of the decoder's candidate masks is trained and read out."""
    rows = [["mask_selection", *SCORES, "paper"]]
    for name in ("min_loss", "best_predicted", "all", "token0"):
        overrides = [] if name == BASE_READ_OUT else [f"mask_selection={name}"]
        rows.append([name, *_cells(bench.scores(overrides)), "not stated"])
    return rows


def visible_decoder(bench: Bench) -> Table:
    """With a visible decoder, which the amodal one starts as a copy of; or without any."""
    rows = [["visible decoder", *SCORES, "miou_visible", "decode ms", "paper"]]
    for title, overrides in (
        ("on, amodal one starts as its copy", []),
        ("off, amodal one starts at random", ["copy_visible_decoder=false"]),
    ):
        model = bench.model(overrides, bench.options.seeds[0])
        visible = "-"
        if overrides:
            model.visible_decoder = None
        else:
            visible = _percent(evaluate_masks(wrap_model(model), bench.images)["miou_visible"])
        decode_ms = f"{_decode_ms(model, bench.images[0]):.0f}"
        rows.append([title, *_cells(bench.scores(overrides)), visible, decode_ms, "not stated"])
    return rows


def _decode_ms(model: Sameo, image: AmodalImage, repeats: int = 5) -> float:
    """Return the median processor time for eight boxes of one image, every mask included, ms."""
    predictor = wrap_model(model)
    embedding = predictor.encode(image.load_rgb())
    height, width = image.image_hw
    box = (0.2 * width, 0.2 * height, 0.6 * width, 0.7 * height)
    times = []
    for _ in range(repeats + 1):
        started = time.process_time()
        predictor.decode(embedding, [box] * 8)
        times.append(time.process_time() - started)
    return 1000 * float(np.median(times[1:]))


def jitter(bench: Bench) -> Table:
    """Box noise at test time, visible prompts, with and without jitter in training."""
    rows = [["jitter in training", *(f"noise {noise:.0%}" for noise in BOX_NOISES), "paper"]]
    for title, overrides in (("none", []), ("10 %", ["samples.box_jitter=0.1"])):
        found = [
            bench.keep(overrides, seed, "box_noise", lambda model: _score_noises(bench, model))
            for seed in bench.options.seeds
        ]
        cells = [_mean(values) for values in zip(*found, strict=True)]
        rows.append([title, *cells, "not stated"])
    return rows


def _score_noises(bench: Bench, model: Sameo) -> list[float]:
    predictor = wrap_model(model)
    return [
        evaluate_masks(predictor, bench.images, box_noise=noise)["miou_full"]
        for noise in BOX_NOISES
    ]


ABLATIONS: dict[str, Callable[[Bench], Table]] = {
    "prompts": prompts,
    "rescoring": rescoring,
    "occluded-only": occluded_only,
    "jitter": jitter,
    "read-outs": read_outs,
    "visible-decoder": visible_decoder,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ablations that were asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=("all", *ABLATIONS))
    add("--init", type=Path, required=True, help="stage-1 checkpoint")
    add("--train", type=Path, required=True, help="rendered scenes to train on")
    add("--val", type=Path, required=True, help="rendered scenes to score on")
    add("--output", type=Path, required=True, help="folder of runs, tables and embeddings")
    add("--seeds", type=int, nargs="+", default=[0, 1], metavar="N")
    add("--steps", type=int, help="instead of the configuration's")
    add("--limit", type=int, help="score on the first images only")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    images = _open_images(options)
    bench = Bench(options, images)
    for name in ABLATIONS if options.name == "all" else (options.name,):
        table = _markdown(ABLATIONS[name](bench))
        title = (ABLATIONS[name].__doc__ or "").splitlines()[0]
        conditions = (
            f"{len(images)} images, seeds {options.seeds}, {torch.get_num_threads()} threads"
        )
        text = f"### {title}\n\n{table}\n\n{conditions}\n"
        (options.output / f"{name}.md").write_text(text)
        print(text)
    return 0


def _open_images(options: argparse.Namespace) -> list[AmodalImage]:
    config = load_config(CONFIG, [f'train=[{{root: "{options.val}"}}]'])
    (source,) = open_sources(config.train)
    return list(source.images)[: options.limit]


def _paper_rows(table: str) -> list[Any]:
    return [row for row in rows_for("cocoa_cls", class_specific=False) if row.table == table]


def _cells(scores: Sequence[dict[str, Any]], names: Sequence[str] = SCORES) -> list[str]:
    return [_mean([item[name] for item in scores]) for name in names]


def _mean(values: Sequence[float | None]) -> str:
    """Write the mean over seeds in percent, with half the range."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = 50 * (max(known) - min(known))
    return f"{100 * float(np.mean(known)):.1f} ± {spread:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _markdown(rows: Table) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
