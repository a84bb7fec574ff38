"""Fetching weights from a server on this machine: resumed, verified, explained when it fails."""

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sameo_model import checkpoints as command
from sameo_model.modeling import official
from sameo_model.modeling.official import OfficialFile, fetch_official, git_blob_id

CONTENT = np.random.default_rng(0).bytes(1_000_000)
BROKEN_AFTER = 600_000


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("efficient_sam_vits.pt", content)
    return buffer.getvalue()


ARCHIVE = zipped(CONTENT)


class Server(ThreadingHTTPServer):
    """Serves `files`; `fault` says what goes wrong; `ranges` records what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.fault = ""
        self.ranges: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        content = self.server.files.get(self.path.strip("/"))
        if content is None:
            self.send_error(404)
            return
        start = 0
        if self.headers["Range"] and self.server.fault != "no_ranges":
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = BROKEN_AFTER if self.server.fault == "breaks" else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setitem(
        official.OFFICIAL,
        "efficient_sam_vitt",
        OfficialFile("efficient_sam_vitt.pt", blob_id(CONTENT)),
    )
    monkeypatch.setitem(
        official.OFFICIAL,
        "efficient_sam_vits",
        OfficialFile("efficient_sam_vits.pt.zip", blob_id(ARCHIVE)),
    )
    with Server() as running:
        running.files = {
            "efficient_sam_vitt.pt": CONTENT,
            "efficient_sam_vits.pt.zip": ARCHIVE,
        }
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_blob_id_is_gits(tmp_path):
    # git hash-object of a file with the six bytes "hello\n".
    (tmp_path / "x").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "x") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_published_ids_are_those_of_the_repository():
    assert official.OFFICIAL["efficient_sam_vitt"].blob_id.startswith("af883c49e33c")
    assert official.OFFICIAL["efficient_sam_vits"].blob_id.startswith("fa4e9f05f753")
    assert official.SOURCE.startswith("https://github.com/yformer/EfficientSAM/")


def test_a_file_is_fetched_with_progress(server, tmp_path):
    seen: list[tuple[int, int | None]] = []
    path = fetch_official(
        "efficient_sam_vitt",
        tmp_path / "new",
        source=server.address,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["efficient_sam_vitt.pt"]
    assert seen[0] == (0, 1_000_000)
    assert seen[-1] == (1_000_000, 1_000_000)
    assert sorted(seen) == seen


def test_a_broken_download_is_resumed_where_it_stopped(server, tmp_path):
    server.fault = "breaks"
    with pytest.raises(official.DownloadError, match=r"broke .* run the command again to resume"):
        fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert names(tmp_path) == ["efficient_sam_vitt.pt.part"]
    server.fault = ""
    path = fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={BROKEN_AFTER}-"]
    assert names(tmp_path) == ["efficient_sam_vitt.pt"]


def test_a_server_that_cannot_resume_sends_the_file_again(server, tmp_path):
    (tmp_path / "efficient_sam_vitt.pt.part").write_bytes(CONTENT[:1000])
    server.fault = "no_ranges"
    path = fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert path.read_bytes() == CONTENT


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "efficient_sam_vitt.pt.part").write_bytes(CONTENT)
    path = fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert path.read_bytes() == CONTENT


def test_another_file_is_refused_and_deleted(server, tmp_path):
    server.files["efficient_sam_vitt.pt"] = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match="is not the published file and was deleted"):
        fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert names(tmp_path) == []


def test_a_file_that_the_user_brought_is_verified_without_a_network(server, tmp_path):
    (tmp_path / "efficient_sam_vitt.pt").write_bytes(CONTENT)
    assert fetch_official("efficient_sam_vitt", tmp_path, source=server.address).exists()
    assert server.ranges == []
    (tmp_path / "efficient_sam_vitt.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not the published file, whose git blob id"):
        fetch_official("efficient_sam_vitt", tmp_path, source=server.address)
    assert (tmp_path / "efficient_sam_vitt.pt").read_bytes() == b"something else"


def test_an_archive_is_unpacked_and_mended(server, tmp_path):
    path = fetch_official("efficient_sam_vits", tmp_path, source=server.address)
    assert path == tmp_path / "efficient_sam_vits.pt"
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"damaged")
    fetch_official("efficient_sam_vits", tmp_path, source=server.address)
    assert path.read_bytes() == CONTENT
    assert len(server.ranges) == 1
    assert names(tmp_path) == ["efficient_sam_vits.pt", "efficient_sam_vits.pt.zip"]


def test_without_a_network_one_sentence_says_what_to_do(tmp_path, capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    source = f"http://127.0.0.1:{port}"
    arguments = ["fetch", "efficient_sam_vitt", "--folder", str(tmp_path), "--source", source]
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be reached" in error
    assert f"put it at {tmp_path / 'efficient_sam_vitt.pt'} and run the command again" in error
    assert names(tmp_path) == []


def test_a_missing_file_at_the_source_is_named(server, tmp_path):
    server.files.clear()
    with pytest.raises(official.DownloadError, match="answered 404"):
        fetch_official("efficient_sam_vitt", tmp_path, source=server.address)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be one of efficient_sam_vitt, efficient_sam_vits"):
        fetch_official("sam_vit_h", tmp_path)


def test_list_tells_fetched_from_damaged_from_missing(server, tmp_path, capsys):
    folder = ["--folder", str(tmp_path)]
    fetch = ["fetch", "efficient_sam_vitt", *folder, "--source", server.address]
    assert command.main(fetch) == 0
    assert "efficient_sam_vitt.pt is there and verified" in capsys.readouterr().out
    (tmp_path / "efficient_sam_vits.pt.zip.part").write_bytes(bytes(2_500_000))
    assert command.main(["list", *folder]) == 0
    vitt, vits = capsys.readouterr().out.splitlines()[1:3]
    assert vitt.endswith("efficient_sam_vitt.pt, verified")
    assert vits.endswith("fetched in part (2.5 MB)")
    (tmp_path / "efficient_sam_vitt.pt").write_bytes(b"damaged")
    (tmp_path / "efficient_sam_vits.pt.zip.part").unlink()
    assert command.main(["list", *folder]) == 0
    vitt, vits = capsys.readouterr().out.splitlines()[1:3]
    assert "NOT the published file" in vitt
    assert "not there; run: python -m sameo_model.checkpoints fetch" in vits


def test_show_describes_a_checkpoint(tmp_path, capsys):
    from sameo_model.modeling import build_sameo, save_checkpoint

    model = build_sameo("sameo_lite", 64)
    save_checkpoint(model, tmp_path / "model.safetensors")
    assert command.main(["show", str(tmp_path / "model.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"preset +sameo_lite", printed)
    assert re.search(r"image_size +64", printed)
    num_parameters = sum(value.numel() for value in model.image_encoder.parameters())
    assert re.search(rf"image_encoder +{num_parameters / 1e6:.2f} million", printed)
    assert command.main(["show", str(tmp_path / "nothing.safetensors")]) == 2
    assert "nothing.safetensors does not exist" in capsys.readouterr().err
