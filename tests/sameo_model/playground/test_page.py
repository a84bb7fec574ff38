"""The page in headless Chromium: choose an image, drag, click, download."""

import base64
import json
import os
import shutil
import subprocess
import time

import cv2
import numpy as np
import pytest

from tests.bundles import add_tiny_detector, make_tiny_window_bundle
from tests.sameo_model.playground.test_server import image_file, serving_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)"),
]
SIZE = (1200, 800)


class Chromium:
    """One page, driven through the browser's debugging pipe: JSON messages that end with NUL."""

    def __init__(self, profile, address):
        to_browser, self._to_browser = os.pipe()
        self._from_browser, from_browser = os.pipe()
        # The pipe is the browser's file descriptors 3 and 4.
        shell = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$0" "$@"'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", shell, CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}"),
                f"--window-size={SIZE[0]},{SIZE[1]}",
            ],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session = {}
        self.complaints = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for part in ("Page", "Runtime", "Log", "DOM"):
            self.ask(f"{part}.enable")
        self.ask("Page.navigate", url=address)

    def ask(self, method, **values):
        self._number += 1
        message = {"id": self._number, "method": method, "params": values, **self._session}
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(answer["params"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        while b"\0" not in self._buffer:
            part = os.read(self._from_browser, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def value(self, expression):
        """Evaluate JavaScript; None for what is undefined or fails."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, expression, timeout_s=60):
        end_s = time.monotonic() + timeout_s
        while not self.value(expression):
            assert time.monotonic() < end_s, (
                f"{expression} never came; {self.value('document.body.innerText')}"
            )
            time.sleep(0.05)

    def choose(self, path):
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.ask("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def drag(self, *places):
        """Press at the first place of the image, move, and let go; shares of its sides."""
        frame = self.value(
            "(({x, y, width, height}) => [x, y, width, height])(shown.getBoundingClientRect())"
        )
        points = [(frame[0] + x * frame[2], frame[1] + y * frame[3]) for x, y in places]
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=1,
                clickCount=1,
            )

    def screenshot(self):
        data = base64.b64decode(self.ask("Page.captureScreenshot")["data"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def close(self):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to_browser)
        os.close(self._from_browser)


@pytest.fixture
def page(tmp_path, request):
    bundle = make_tiny_window_bundle(tmp_path / "bundle")
    if request.param == "detector":
        add_tiny_detector(bundle)
    photo = tmp_path / "photo.png"
    photo.write_bytes(image_file(128, 128))
    with serving_model(bundle, [photo]) as server:
        browser = Chromium(tmp_path / "profile", server.url)
        try:
            browser.wait_for("document.readyState === 'complete' && state.samples")
            yield browser, photo
        finally:
            browser.close()


NUM_ROWS = "element('objects').rows.length"
IS_DRAWN = "!isBusy && shown.complete && shown.naturalWidth === 128"


@pytest.mark.parametrize("page", ["detector"], indirect=True)
def test_everything_is_found_and_a_box_and_a_click_add_to_it(page):
    browser, photo = page
    browser.choose(photo)
    browser.wait_for(f"{NUM_ROWS} === 2 && {IS_DRAWN}")
    assert "photo.png: 128 x 128 pixels, 2 objects" in browser.value("element('status').innerText")
    frame = browser.value("JSON.stringify(shown.getBoundingClientRect())")
    frame = json.loads(frame)
    pixels = browser.screenshot()
    x, y, side = int(frame["x"]), int(frame["y"]), frame["width"]
    # The visible half of the first object (16, 16 to 64, 80) has a colour; the margin has none.
    assert np.ptp(pixels[y + int(side * 30 / 128), x + int(side * 40 / 128)]) > 20
    assert np.ptp(pixels[y + int(side * 5 / 128), x + int(side * 120 / 128)]) < 8

    browser.drag((0.55, 0.1), (0.7, 0.2), (0.95, 0.4))
    browser.wait_for(f"{NUM_ROWS} === 3 && {IS_DRAWN}")
    box = browser.value("image.objects[2].box")
    assert box == pytest.approx([70.4, 12.8, 121.6, 51.2], abs=1.5)
    browser.drag((0.3, 0.2))
    browser.wait_for(f"{NUM_ROWS} === 4 && {IS_DRAWN}")

    links = browser.value("[element('overlay').href, element('json').href]")
    assert links[0].endswith("/overlay.png")
    browser.value(f"fetch('{links[1]}').then((r) => r.json()).then((j) => (window.got = j))")
    browser.wait_for("window.got")
    assert browser.value("got.length") == 4
    browser.value("element('clear').click()")
    browser.wait_for(f"{NUM_ROWS} === 0 && {IS_DRAWN}")
    browser.value("element('find').click()")
    browser.wait_for(f"{NUM_ROWS} === 2 && {IS_DRAWN}")
    assert not browser.complaints


@pytest.mark.parametrize("page", ["none"], indirect=True)
def test_without_a_detector_a_sample_is_opened_and_a_box_dragged(page):
    browser, _ = page
    assert browser.value("element('find').hidden") is True
    browser.value("element('samples').firstChild.click()")
    browser.wait_for(f"image && {IS_DRAWN}")
    assert browser.value(NUM_ROWS) == 0
    browser.drag((0.2, 0.2), (0.6, 0.6))
    browser.wait_for(f"{NUM_ROWS} === 1 && {IS_DRAWN}")
    assert not browser.complaints


@pytest.mark.parametrize("page", ["detector"], indirect=True)
def test_what_is_no_image_is_said_on_the_page(page, tmp_path):
    browser, _ = page
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    browser.choose(text)
    browser.wait_for("element('status').classList.contains('error')")
    assert "notes.txt cannot be opened" in browser.value("element('status').innerText")
