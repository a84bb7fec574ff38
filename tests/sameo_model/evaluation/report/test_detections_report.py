import csv
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from sameo_model import evaluate
from sameo_model.data.rle import encode_mask
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance, write_set

HW = (120, 160)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report on six images with a hidden object each, whose class name is an HTML trap."""
    folder = tmp_path_factory.mktemp("report")
    images, detections = [], []
    for number in range(1, 7):
        whole = filled(HW, (20, 20, 90, 100))
        visible = whole & ~filled(HW, (60, 40, 160, 120))
        small = filled(HW, (100, 10, 140, 30))
        instances = [
            make_instance(2 * number, whole, visible, "<script>alert(1)</script>"),
            make_instance(2 * number + 1, small, small, "mug", category_id=2),
        ]
        images.append(make_image(folder, number, instances, HW))
        for mask, box in ((visible, (20, 20, 90, 100)), (small, (100, 10, 140, 30 + number))):
            rle = encode_mask(mask)
            x1, y1, x2, y2 = box
            detections.append(
                {
                    "image_id": number,
                    "category_id": 1,
                    "score": 1 - number / 20,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": {"size": list(HW), "counts": rle["counts"].decode()},
                }
            )
    annotations = write_set(folder, images)
    (folder / "detections.json").write_text(json.dumps(detections))
    bundle = make_tiny_bundle(folder / "bundle")
    status = evaluate.main(
        [
            "detections",
            *("--annotations", str(annotations), "--images", str(folder / "images")),
            *("--detections", str(folder / "detections.json"), "--model", str(bundle)),
            *("--backend", "onnxruntime", "--dataset", "cocoa_cls", "--front-end", "RTMDet"),
            *("--buckets", "aisformer", "--replicates", "20", "--report", str(folder / "out")),
        ]
    )
    assert status == 0
    return folder / "out"


def test_the_page_needs_no_other_file_and_no_script(report):
    page = (report / "index.html").read_text()

    sources = re.findall(r"(?:src|href)=\"([^\"]*)", page)
    # Charts refer to parts of their own.
    own = [source for source in sources if not source.startswith("#")]
    assert own
    assert all(source.startswith("data:image/jpeg;base64,") for source in own)
    # Names of XML's name spaces are no addresses that a browser opens.
    page = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_shows_tables_charts_cases_and_the_paper(report):
    page = (report / "index.html").read_text()

    assert page.count("<svg") == 4
    for text in (
        "visible decoder",
        "SAMEO minus",
        "visible &lt;= 0.60",
        "boundary F",
        "paper: RTMDet + SAMEO, zero-shot",
        "Cases: worst",
        "Cases: best",
    ):
        assert text in page, text


def test_figures_show_photograph_truth_and_prediction_with_the_hidden_part_hatched(report):
    import base64

    page = (report / "index.html").read_text()
    data = base64.b64decode(re.findall(r"data:image/jpeg;base64,([^\"]*)", page)[0])
    figure = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    width = figure.shape[1] // 3

    # The photograph is plain grey; the other two panels are painted on.
    spread = [np.ptp(figure[:, n * width + 4 : (n + 1) * width - 6]) for n in range(3)]
    assert spread[0] < 10
    assert spread[1] > 100
    assert spread[2] > 100


def test_numbers_stand_in_json_csv_and_markdown_too(report):
    result = json.loads((report / "result.json").read_text())
    with (report / "rows.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    with (report / "instances.csv").open() as file:
        instances = list(csv.DictReader(file))
    markdown = (report / "report.md").read_text()

    assert float(rows["sameo"]["ap"]) == pytest.approx(result["ap"])
    assert len(instances) == 12
    assert f"{100 * result['ap']:.1f}" in markdown
    assert "| paper: RTMDet + SAMEO" in markdown


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")
def test_a_browser_renders_the_page_without_complaint(report, tmp_path):
    screenshot = tmp_path / "page.png"
    outcome = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--window-size=1200,4000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={screenshot}"),
            (report / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr
    # What a page says on the console, errors of scripts and of its content policy among it.
    assert "CONSOLE" not in outcome.stderr
    pixels = cv2.imread(str(screenshot)).astype(int)
    assert pixels.shape == (4000, 1200, 3)
    # Text on the title's line, and colours of the charts (blue of the headline row).
    assert np.ptp(pixels[20:60, 40:400]) > 150
    blue = (abs(pixels - np.array([178, 114, 0])).max(axis=2) < 12).sum()
    assert blue > 300


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")
def test_a_browser_finds_every_figure_and_every_table(report, tmp_path):
    outcome = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            f"--user-data-dir={tmp_path / 'profile'}",
            (report / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("<figure>") == (report / "index.html").read_text().count("<figure>")
    assert outcome.stdout.count("<table>") == 6
