"""The page over HTTP: what it answers, and what it refuses."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model.playground import table as tables
from sameo_model.playground.__main__ import main
from sameo_model.playground.server import PlaygroundServer
from sameo_model.playground.table import ImageTable
from sameo_model.runtime import load_predictor
from tests.bundles import add_tiny_detector, make_tiny_bundle, make_tiny_window_bundle


def image_file(height=64, width=64, level=255, suffix=".png"):
    pixels = np.full((height, width, 3), level, np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


class Browser:
    """One connection, as a browser keeps it."""

    def __init__(self, server):
        self.port = server.server_port
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, address, body=None, headers=None):
        self.connection.request(method, address, body, headers or {})
        answer = self.connection.getresponse()
        content = answer.read()
        self.headers = dict(answer.getheaders())
        is_json = self.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(content) if is_json else content

    def get(self, address, **headers):
        return self.ask("GET", address, headers=headers)

    def post(self, address, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", address, body, headers)

    def open(self, content=None, name="photo.png"):
        status, image = self.post(f"/api/images?name={quote(name)}", content or image_file())
        assert status == 201, image
        return image


@contextmanager
def serving_model(folder, samples=()):
    table = ImageTable(partial(load_predictor, folder, "onnxruntime"))
    server = PlaygroundServer(table, 0, list(samples))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        table.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("playground")
    sample = folder / "a sample.png"
    sample.write_bytes(image_file())
    bundle = add_tiny_detector(make_tiny_window_bundle(folder / "bundle"))
    with serving_model(bundle, [sample]) as running:
        yield running


@pytest.fixture
def browser(server):
    return Browser(server)


def test_the_page_and_its_files_are_served_with_a_strict_policy(browser):
    for address, start in (("/", b"<!doctype html>"), ("/page.js", b'"use strict"')):
        status, content = browser.get(address)
        assert status == 200
        assert content.startswith(start)
        assert browser.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert browser.get("/page.css")[0] == 200
    # Nothing comes from elsewhere.
    assert b"http" not in browser.get("/")[1] + browser.get("/page.js")[1]


def test_the_state_names_model_and_samples(browser):
    _, state = browser.get("/api/state")
    assert state == {
        "model": "tiny",
        "backend": "onnxruntime (CPU, f32)",
        "has_detector": True,
        "samples": ["a sample.png"],
    }


def test_everything_in_an_opened_image_is_found(browser):
    image = browser.open(image_file(128, 128), "my photo.png")
    assert (image["name"], image["width"], image["height"]) == ("my photo.png", 128, 128)
    assert [one["box"] for one in image["objects"]] == [[16, 16, 64, 80], [80, 80, 128, 128]]
    assert image["objects"][0]["detection_score"] == pytest.approx(1, abs=1e-3)
    assert image["time_ms"] > 0


def test_a_sample_is_opened_by_its_name(browser):
    status, image = browser.post("/api/samples/a%20sample.png")
    assert status == 201
    assert len(image["objects"]) == 2
    assert browser.post("/api/samples/other.png")[0] == 404


def test_a_dragged_box_adds_an_object_and_clearing_forgets_all(browser):
    image = browser.open(image_file(96, 128, 0))
    assert image["objects"] == []
    address = f"/api/images/{image['id']}"
    _, image = browser.post(f"{address}/box", {"box": [16, 24, 80, 72]})
    (found,) = image["objects"]
    assert found["box"] == [16, 24, 80, 72]
    assert found["occlusion_ratio"] == pytest.approx(0.5, abs=0.03)
    _, records = browser.get(f"{address}/predictions.json")
    (record,) = records
    assert record["file_name"] == "photo.png"
    assert coco_mask.decode(record["segmentation"]).sum() == pytest.approx(64 * 48, rel=0.03)
    assert browser.post(f"{address}/clear")[1]["objects"] == []
    assert browser.get(f"{address}/predictions.json")[1] == []


def test_a_click_finds_the_object_under_it(browser):
    image = browser.open(image_file(200, 200))
    address = f"/api/images/{image['id']}"
    browser.post(f"{address}/clear")
    status, image = browser.post(f"{address}/click", {"point": [60, 40]})
    assert status == 200
    x1, y1, x2, y2 = image["objects"][0]["box"]
    assert x1 <= 60 < x2
    assert y1 <= 40 < y2


def test_the_detector_sees_an_image_once(browser, server, monkeypatch):
    predictor, seen = server.table._predictor, []
    detect = predictor.detect
    monkeypatch.setattr(predictor, "detect", lambda *a, **k: seen.append(a) or detect(*a, **k))
    image = browser.open(image_file(128, 128))
    address = f"/api/images/{image['id']}"
    for _ in range(2):
        assert browser.post(f"{address}/click", {"point": [30, 30]})[0] == 200
    assert browser.post(f"{address}/find")[1]["objects"] == image["objects"]
    assert len(seen) == 1


def test_a_click_on_nothing_says_so(browser, monkeypatch):
    image = browser.open()
    monkeypatch.setattr(tables, "_holds", lambda crop, x, y: False)
    status, answer = browser.post(f"/api/images/{image['id']}/click", {"point": [9, 9]})
    assert status == 422
    assert answer["error"] == "no object was found there; drag a box around it"


def test_overlays_show_the_objects(browser):
    image = browser.open(image_file(64, 64, 255))
    address = f"/api/images/{image['id']}"
    drawn = {}
    for name in ("shown.jpg", "overlay.png"):
        content = browser.get(f"{address}/{name}")[1]
        drawn[name] = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert drawn[name].shape == (64, 64, 3)
    assert 'filename="photo_overlay.png"' in browser.headers["Content-Disposition"]
    # The first object's visible half is tinted, and the image outside of all objects is not.
    assert np.ptp(drawn["overlay.png"][20, 20]) > 20
    assert np.ptp(drawn["overlay.png"][60, 8]) == 0


def test_a_large_image_is_shown_small_and_downloaded_whole(browser):
    image = browser.open(image_file(6000, 8000, 90, ".jpg"))
    assert (image["width"], image["height"]) == (8000, 6000)
    address = f"/api/images/{image['id']}"
    content = browser.get(f"{address}/shown.jpg")[1]
    assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (1200, 1600, 3)


@pytest.mark.parametrize("height_width_level", [(1, 1, 255), (64, 64, 0), (48, 64, 128)])
def test_a_speck_a_black_and_a_grey_image_are_answered(browser, height_width_level):
    height, width, level = height_width_level
    image = browser.open(image_file(height, width, level))
    assert image["width"] == width
    assert all(0 <= one["predicted_iou"] <= 1 for one in image["objects"])
    assert browser.get(f"/api/images/{image['id']}/shown.jpg")[0] == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is empty"), (b"no image at all", "cannot decode"), (image_file()[:-20], "end")],
    ids=["empty", "text", "cut off"],
)
def test_what_is_no_image_is_refused(browser, content, reason):
    status, answer = browser.post("/api/images?name=../x/notes.txt", content)
    assert status == 415
    assert answer["error"].startswith("notes.txt cannot be opened: ")
    assert reason in answer["error"]
    browser.open()  # the next one is answered


def test_too_many_pixels_are_refused(browser, monkeypatch):
    monkeypatch.setattr(tables, "MAX_PIXELS", 4000)
    status, answer = browser.post("/api/images", image_file(64, 64))
    assert status == 415
    assert "it has 64 x 64 pixels" in answer["error"]


def test_an_upload_of_50_mb_is_refused_before_it_is_read(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as link:
        host = f"Host: 127.0.0.1:{server.server_port}\r\n"
        link.sendall(
            f"POST /api/images HTTP/1.1\r\n{host}Content-Length: 50000000\r\n\r\n".encode()
        )
        answer = b""
        while part := link.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 40 MB are taken, got 50.0 MB" in answer


@pytest.mark.parametrize(
    "address",
    ["/../../etc/passwd", "/page.html", "/..%2f..%2fsetup.py", "/api/images/x/../../state", "/a"],
)
def test_paths_outside_the_page_are_not_found(browser, address):
    assert browser.get(address)[0] == 404


def test_an_image_that_is_not_kept_is_not_found(browser):
    for method, what in (("GET", "shown.jpg"), ("POST", "find"), ("POST", "box")):
        body = b'{"box": [1, 1, 9, 9]}' if method == "POST" else None
        status, answer = browser.ask(method, f"/api/images/nothing/{what}", body)
        assert status == 404
        assert answer["error"] == "this image is no longer kept; open it again"


@pytest.mark.parametrize(
    ("what", "body", "reason"),
    [
        ("box", {"box": [1, 2, 3]}, "'box' must be a list of 4 numbers"),
        ("box", {"box": [1, 2, "3", 4]}, "'box' must be a list of 4 numbers"),
        ("box", {"box": [10**400] * 4}, "'box' holds too large a number"),
        ("box", {"box": [9, 9, 9, 20]}, "drag another one"),
        ("box", b'{"box": [NaN, 1, 2, 3]}', "drag another one"),
        ("click", {"point": [500, 2]}, "must lie inside the image of 64 x 64 pixels"),
        ("click", b'{"point": [NaN, 2]}', "must lie inside the image"),
        ("click", b"[1, 2]", "the request must hold a JSON object"),
        ("click", b"[" * 9000, "the request must hold JSON"),
    ],
)
def test_bad_requests_are_answered_with_one_sentence(browser, what, body, reason):
    image = browser.open()
    status, answer = browser.post(f"/api/images/{image['id']}/{what}", body)
    assert status == 400
    assert reason in answer["error"]


def test_other_sites_are_refused(browser, server):
    own = f"http://localhost:{server.server_port}"
    assert browser.post("/api/images", image_file(), Origin=own)[0] == 201
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        status, answer = browser.post("/api/images", image_file(), **headers)
        assert status == 403
        assert "open the page at http://127.0.0.1:" in answer["error"]


def test_two_browsers_at_once_see_their_own_images(server):
    def use(level):
        browser = Browser(server)
        for _ in range(5):
            image = browser.open(image_file(64, 64, level))
            address = f"/api/images/{image['id']}/box"
            _, image = browser.post(address, {"box": [8, 8, 40, 40]})
            yield image["objects"][-1]["predicted_iou"]

    with ThreadPoolExecutor(2) as pool:
        dark, bright = pool.map(lambda level: list(use(level)), (51, 204))
    # The tiny model's predicted IoU is the brightness.
    assert dark == pytest.approx([0.2] * 5, abs=0.01)
    assert bright == pytest.approx([0.8] * 5, abs=0.01)


@pytest.mark.parametrize(("limit", "value"), [("MAX_KEPT_BYTES", 24576), ("MAX_KEPT", 2)])
def test_the_images_of_longest_ago_are_forgotten(browser, monkeypatch, limit, value):
    monkeypatch.setattr(tables, limit, value)
    first, second, third = (browser.open()["id"] for _ in range(3))
    assert browser.get(f"/api/images/{first}/shown.jpg")[0] == 404
    assert browser.get(f"/api/images/{second}/shown.jpg")[0] == 200
    assert browser.get(f"/api/images/{third}/shown.jpg")[0] == 200


def test_without_a_detector_dragging_and_clicking_work(tmp_path):
    with serving_model(make_tiny_bundle(tmp_path / "bundle")) as server:
        browser = Browser(server)
        assert browser.get("/api/state")[1]["has_detector"] is False
        image = browser.open(image_file(96, 128))
        assert image["objects"] == []
        address = f"/api/images/{image['id']}"
        assert len(browser.post(f"{address}/box", {"box": [8, 8, 40, 40]})[1]["objects"]) == 1
        # The tiny model sees the upper half of a box, with the middle of one that the edge cuts.
        status, image = browser.post(f"{address}/click", {"point": [60, 2]})
        assert (status, len(image["objects"])) == (200, 2)
        status, answer = browser.post(f"{address}/find")
        assert status == 400
        assert "detect needs a detector" in answer["error"]


def test_a_mistake_of_ours_is_answered_and_logged(browser, server, monkeypatch, caplog):
    monkeypatch.setattr(server.table, "describe", lambda: 1 / 0)
    status, answer = browser.get("/api/state")
    assert (status, answer["error"]) == (500, "this went wrong; see the terminal")
    assert "ZeroDivisionError" in caplog.text


def test_a_port_out_of_range_is_named(tmp_path, capsys):
    bundle = str(make_tiny_bundle(tmp_path / "bundle"))
    assert main(["--model", bundle, "--backend", "onnxruntime", "--port", "99999"]) == 1
    assert "--port must lie from 0 to 65535, got 99999; choose" in capsys.readouterr().err


def test_a_port_in_use_is_named(server, tmp_path, capsys):
    bundle = str(make_tiny_bundle(tmp_path / "bundle"))
    arguments = ["--model", bundle, "--backend", "onnxruntime"]
    assert main([*arguments, "--port", str(server.server_port)]) == 1
    assert f"port {server.server_port} of 127.0.0.1 is in use" in capsys.readouterr().err


def test_the_command_says_where_the_page_is_and_ends_on_a_signal(tmp_path):
    bundle = add_tiny_detector(make_tiny_bundle(tmp_path / "bundle"))
    command = [sys.executable, "-m", "sameo_model.playground", "--port", "0", "--model", bundle]
    process = subprocess.Popen(
        [*command, "--backend", "onnxruntime"], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:")
        port = int(line.split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/api/state")
        assert json.loads(connection.getresponse().read())["model"] == "tiny"
    finally:
        process.terminate()
    assert process.wait(30) == 0


def test_a_missing_model_is_named(capsys):
    assert main(["--model", "no_such_model", "--port", "0"]) == 1
    assert "no_such_model" in capsys.readouterr().err


def test_a_missing_folder_of_images_is_named(tmp_path, capsys):
    assert main(["--images", str(tmp_path / "nowhere"), "--port", "0"]) == 1
    assert "nowhere does not exist; check the path" in capsys.readouterr().err
