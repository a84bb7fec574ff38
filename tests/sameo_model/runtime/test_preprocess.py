import numpy as np
import pytest

from sameo_model.runtime.preprocess import resize_image


def test_squashing_samples_at_pixel_centres():
    # 4 to 2 columns: output centres 0.5 and 1.5 lie at input 1 - 0.5 and 3 - 0.5, halfway between
    # columns 0, 1 and 2, 3. 1 to 2 rows: the single row is repeated.
    row = np.array([0, 100, 20, 40], np.uint8)
    image = np.repeat(row[None, :, None], 3, axis=2)
    squashed = resize_image(image, 2)
    np.testing.assert_array_equal(squashed[..., 0], [[50, 30], [50, 30]])


@pytest.mark.parametrize("image_hw", [(48, 64), (64, 48), (7, 5), (1, 1), (300, 200), (64, 64)])
def test_squashing_equals_torch_interpolation_without_antialiasing(image_hw):
    torch = pytest.importorskip("torch", reason="compares with PyTorch's interpolation")
    image = np.random.default_rng(0).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(
        batch, (64, 64), mode="bilinear", align_corners=False
    )
    expected = expected[0].permute(1, 2, 0).numpy()
    # Half a level of rounding, and OpenCV's 11-bit weights.
    assert np.abs(resize_image(image, 64) - expected).max() <= 0.75


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[..., ::-1],
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: image[:, :20],
        lambda image: image[::2, ::3],
        lambda image: image.transpose(1, 0, 2),
    ],
    ids=["bgr", "mirrored", "upside down", "padded rows", "strided", "transposed"],
)
def test_views_with_any_strides_are_squashed_like_their_copies(view):
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    expected = resize_image(np.ascontiguousarray(view(image)), 16)
    np.testing.assert_array_equal(resize_image(view(image), 16), expected)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "image.png",
    ],
    ids=["grey", "rgba", "float", "no rows", "path"],
)
def test_other_arrays_are_rejected(image):
    message = r"image_rgb must be a uint8 array of shape \(H, W, 3\) .*: convert it, or read"
    with pytest.raises(ValueError, match=message):
        resize_image(image, 16)
