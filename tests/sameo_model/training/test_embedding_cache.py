"""Embeddings on disk: found again, never stale, never more than the limit."""

import numpy as np
import pytest

from sameo_model.modeling.sameo import Sameo
from sameo_model.training.embedding_cache import EmbeddingCache, fingerprint_encoder
from sameo_model.training.trainer import train
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import (
    assert_same_weights,
    make_config,
    make_model,
    make_sources,
)

VITT = "efficient_sam_vitt"
FROZEN = {"preset": VITT, "trainable": ["mask_decoder"]}
EMBEDDING = np.arange(256 * 4, dtype=np.float16).reshape(256, 2, 2)


def _image(tmp_path, name="a.png", content=b"pixels"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_what_was_written_is_read_until_the_image_changes(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", "encoder", 1e6)
    image = _image(tmp_path)
    assert cache.read(image) is None
    cache.write(image, EMBEDDING)
    np.testing.assert_array_equal(cache.read(image), EMBEDDING)
    assert EmbeddingCache(tmp_path / "cache", "other", 1e6).read(image) is None
    _image(tmp_path, content=b"other pixels")
    assert cache.read(image) is None


def test_a_damaged_file_counts_as_missing(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", "encoder", 1e6)
    image = _image(tmp_path)
    cache.write(image, EMBEDDING)
    kept = next((tmp_path / "cache").rglob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:200])
    assert cache.read(image) is None


def test_the_folder_stays_below_its_limit_also_when_opened_again(tmp_path):
    # Each file holds 256 * 2 * 2 * 2 = 2048 bytes and a header of 128.
    for name in ("a.png", "b.png", "c.png"):
        cache = EmbeddingCache(tmp_path / "cache", name, 2 * 2176)
        cache.write(_image(tmp_path, name), EMBEDDING)
    files = list((tmp_path / "cache").rglob("*.npy"))
    assert [path.stat().st_size for path in files] == [2176, 2176]


def test_the_fingerprint_changes_with_weights_size_and_precision():
    model = make_model(VITT)
    first = fingerprint_encoder(model, "32-true")
    assert fingerprint_encoder(make_model(VITT), "32-true") == first
    assert fingerprint_encoder(model, "bf16-mixed") != first
    assert fingerprint_encoder(make_model(VITT, image_size=96), "32-true") != first
    next(model.image_encoder.parameters()).data += 1
    assert fingerprint_encoder(model, "32-true") != first


def test_training_from_cached_embeddings_is_the_same_and_encodes_nothing(tmp_path, monkeypatch):
    sources = make_sources(write_drawn_scenes(tmp_path / "data"))
    cached = {**FROZEN, "embedding_cache": str(tmp_path / "cache")}
    first = train(make_config(tmp_path, **cached), make_model(VITT), sources)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2

    def refuse(self, images):
        raise AssertionError("an image was encoded although its embedding is kept")

    monkeypatch.setattr(Sameo, "encode", refuse)
    config = make_config(tmp_path, **cached, output=str(tmp_path / "again"))
    again = train(config, make_model(VITT), sources)
    assert_same_weights(first.state_dict(), again.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": {"augment": True}}, "embedding_cache needs samples.augment=false"),
        ({"samples": {"augment": False, "paste": 0.5}}, "embedding_cache needs samples.paste=0"),
        ({"trainable": ["image_encoder"]}, "embedding_cache needs trainable without image_enc"),
        ({"preset": "sameo_lite"}, "embedding_cache needs a preset efficient_sam_"),
    ],
    ids=["augmented", "pasted", "encoder trained", "windows"],
)
def test_the_cache_is_refused_where_embeddings_would_not_stay_the_same(tmp_path, changes, message):
    values = {**FROZEN, "embedding_cache": "cache", **changes}
    with pytest.raises(ValueError, match=message):
        make_config(tmp_path, **values)
