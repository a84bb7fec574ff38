"""Procedural household and workshop objects, 3 to 25 cm, each with its own category name.

Every maker takes a random generator and returns soups (one per material) and convex colliders, all
in metres. Colliders of hollow things leave the hollow free, so that others can fall in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sameo_model.synthesis.assets import Asset, Collider, Surface
from sameo_model.synthesis.surfaces import (
    Array,
    Soup,
    box_soup,
    corner_normals,
    extrude_soup,
    join_soups,
    lathe_soup,
    move_soup,
    rotation_to,
    superquadric_soup,
    tube_soup,
)
from sameo_model.synthesis.textures import OBJECT_PAINTERS, paint_texture, random_rgb

Rng = np.random.Generator
Parts = tuple[list[Soup], list[Collider]]


def hull(points: Array, most: int = 120) -> Collider:
    """Return a hull collider of points float64 (..., 3), thinned to at most `most` of them."""
    flat = points.reshape(-1, 3)
    unique = np.unique(np.round(flat, 5), axis=0)
    step = max(1, len(unique) // most)
    lowest = [int(unique[:, axis].argmin()) for axis in range(3)]
    highest = [int(unique[:, axis].argmax()) for axis in range(3)]
    keep = np.unique(np.concatenate([np.arange(0, len(unique), step), lowest, highest]))
    return Collider("hull", points=unique[keep])


def wall_colliders(outer: Array, inner: Array, sectors: int = 10) -> list[Collider]:
    """Return hulls of the wall between two profiles (2, 2) of (radius, z), low end first."""
    colliders = []
    for k in range(sectors):
        angles = 2 * np.pi * np.array([k, k + 1]) / sectors
        corners = [
            [radius * np.cos(angle), radius * np.sin(angle), z]
            for radius, z in (*outer, *inner)
            for angle in angles
        ]
        colliders.append(Collider("hull", points=np.array(corners)))
    return colliders


def disc_collider(radius: float, bottom_z: float, top_z: float) -> Collider:
    """Return an upright cylinder between two heights."""
    half = (top_z - bottom_z) / 2
    return Collider("cylinder", (radius, half), (0.0, 0.0, bottom_z + half))


def hollow_vessel(outer: Array, wall: float) -> Parts:
    """Return a vessel, open above, whose outside is a profile float64 (P, 2) from foot to rim."""
    inner = outer[1:][::-1] - np.array([wall, 0.0])
    inner[:, 0] = inner[:, 0].clip(min=0.2 * wall)
    inner = inner[inner[:, 1] > outer[0, 1] + wall]
    floor_z = outer[0, 1] + wall
    profile = np.concatenate(
        [[[0, outer[0, 1]]], outer, inner, [[inner[-1, 0], floor_z], [0, floor_z]]]
    )
    middle = len(outer) // 2
    colliders = [disc_collider(float(outer[0, 0]), float(outer[0, 1]), float(floor_z))]
    for low, high in ((0, middle), (middle, len(outer) - 1)):
        band = outer[[low, high]]
        colliders += wall_colliders(band, band - np.array([max(wall, 0.004), 0.0]))
    return [lathe_soup(profile)], colliders


def box(rng: Rng) -> Parts:
    """A block or carton of any proportion."""
    size = rng.uniform(0.03, 0.16, 3) * rng.choice([1.0, 1.4], 3)
    return [box_soup(size)], [Collider("box", tuple((size / 2).tolist()))]


def book(rng: Rng) -> Parts:
    """A closed book: two boards and the pages between them."""
    width, height = rng.uniform(0.09, 0.16), rng.uniform(0.12, 0.23)
    thick, board = rng.uniform(0.012, 0.045), 0.003
    cover = [
        move_soup(box_soup((width, height, board)), offset=(0, 0, z))
        for z in (-thick / 2, thick / 2)
    ]
    spine = move_soup(box_soup((board, height, thick)), offset=(-width / 2, 0, 0))
    pages = move_soup(box_soup((width - 0.006, height - 0.008, thick)), offset=(-0.001, 0, 0))
    collider = Collider("box", (width / 2, height / 2, thick / 2 + board / 2))
    return [join_soups([*cover, spine]), pages], [collider]


def can(rng: Rng) -> Parts:
    """A tin can or solid cylinder, sometimes flat like a tuna tin."""
    radius, height = rng.uniform(0.02, 0.05), rng.uniform(0.02, 0.15)
    bevel = min(0.004, height / 5)
    half = height / 2
    profile = np.array(
        [
            [0, -half],
            [radius - bevel, -half],
            [radius, bevel - half],
            [radius, half - bevel],
            [radius - bevel, half],
            [0, half],
        ]
    )
    return [lathe_soup(profile)], [disc_collider(radius, -half, half)]


def bottle(rng: Rng) -> Parts:
    """A bottle with shoulder, neck and cap."""
    radius, height = rng.uniform(0.022, 0.045), rng.uniform(0.12, 0.25)
    neck = radius * rng.uniform(0.3, 0.6)
    body, shoulder = height * rng.uniform(0.45, 0.7), height * rng.uniform(0.1, 0.22)
    waist = radius * rng.choice([1.0, rng.uniform(0.75, 1.0)])
    t = np.linspace(0, 1, 8)
    slope = np.stack(
        [radius + (neck - radius) * (1 - np.cos(np.pi * t)) / 2, body + shoulder * t], 1
    )
    low = [[0, 0], [radius * 0.92, 0], [radius, 0.005], [waist, body / 2]]
    profile = np.concatenate([low, slope, [[neck, height], [0, height]]])
    cap_height = rng.uniform(0.012, 0.03)
    cap_profile = np.array(
        [
            [0, height - cap_height],
            [neck * 1.15, height - cap_height],
            [neck * 1.15, height + 0.003],
            [0, height + 0.003],
        ]
    )
    colliders = [
        disc_collider(radius, 0, body),
        hull(lathe_soup(slope, 12).triangles),
        disc_collider(neck, body + shoulder, height),
    ]
    return [lathe_soup(profile), lathe_soup(cap_profile)], colliders


def jar(rng: Rng) -> Parts:
    """A jar with a lid."""
    radius, height = rng.uniform(0.025, 0.055), rng.uniform(0.05, 0.14)
    lid, top = rng.uniform(0.8, 1.05) * radius, height * rng.uniform(0.75, 0.9)
    profile = np.array(
        [
            [0, 0],
            [radius * 0.95, 0],
            [radius, 0.006],
            [radius, top * 0.9],
            [lid * 0.9, top],
            [0, top],
        ]
    )
    lid_profile = np.array(
        [[0, top], [lid, top], [lid, height - 0.002], [lid - 0.002, height], [0, height]]
    )
    return [lathe_soup(profile), lathe_soup(lid_profile)], [
        disc_collider(radius, 0, top),
        disc_collider(lid, top, height),
    ]


def cup(rng: Rng) -> Parts:
    """A beaker or paper cup without a handle."""
    top, height = rng.uniform(0.028, 0.048), rng.uniform(0.06, 0.13)
    bottom = top * rng.uniform(0.65, 1.0)
    t = np.linspace(0, 1, 7)
    outer = np.stack([bottom + (top - bottom) * t, height * t], 1)
    return hollow_vessel(outer, rng.uniform(0.002, 0.004))


def bowl(rng: Rng) -> Parts:
    """A bowl."""
    rim, height = rng.uniform(0.045, 0.1), rng.uniform(0.03, 0.08)
    foot = rim * rng.uniform(0.3, 0.6)
    t = np.linspace(0, 1, 10)
    outer = np.stack(
        [foot + (rim - foot) * np.sin(t * np.pi / 2), height * (1 - np.cos(t * np.pi / 2))], 1
    )
    return hollow_vessel(outer, rng.uniform(0.002, 0.005))


def vase(rng: Rng) -> Parts:
    """A vase with a random belly."""
    height, mean = rng.uniform(0.1, 0.22), rng.uniform(0.022, 0.045)
    t = np.linspace(0, 1, 16)
    wave = 1 + rng.uniform(0.1, 0.4) * np.sin(rng.uniform(3, 7) * t + rng.uniform(0, 6))
    return hollow_vessel(np.stack([mean * wave, height * t], 1), 0.003)


def plate(rng: Rng) -> Parts:
    """A plate or saucer."""
    rim, height = rng.uniform(0.06, 0.115), rng.uniform(0.012, 0.025)
    outer = np.array([[0.6, 0.0], [0.66, 0.15], [0.8, 0.55], [1.0, 1.0]]) * [rim, height]
    return hollow_vessel(outer, 0.0035)


def handle_tube(radius: float, low_z: float, high_z: float, reach: float, thick: float) -> Soup:
    """Return a handle that leaves a wall at `radius` and reaches out along x."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 14)
    middle, half = (low_z + high_z) / 2, (high_z - low_z) / 2
    path = np.stack([radius - thick / 2 + reach * np.cos(t), 0 * t, middle + half * np.sin(t)], 1)
    return tube_soup(path, np.full(len(t), thick / 2), 10)


def mug(rng: Rng) -> Parts:
    """A mug with a handle."""
    radius, height = rng.uniform(0.032, 0.046), rng.uniform(0.07, 0.11)
    t = np.linspace(0, 1, 7)
    bulge = 1 + rng.uniform(-0.12, 0.12) * np.sin(np.pi * t)
    soups, colliders = hollow_vessel(np.stack([radius * bulge, height * t], 1), 0.0035)
    thick, reach = rng.uniform(0.007, 0.013), rng.uniform(0.022, 0.038)
    handle = handle_tube(radius, 0.2 * height, 0.85 * height, reach, thick)
    size = (reach / 2, thick / 2, 0.32 * height)
    colliders.append(Collider("box", size, (radius + reach / 2, 0.0, 0.52 * height)))
    if rng.random() < 0.5:
        return [join_soups([soups[0], handle])], colliders
    return [soups[0], handle], colliders


def pitcher(rng: Rng) -> Parts:
    """A tall jug with a handle."""
    height, mean = rng.uniform(0.13, 0.21), rng.uniform(0.035, 0.055)
    t = np.linspace(0, 1, 12)
    belly = 1 + rng.uniform(0.1, 0.35) * np.sin(np.pi * (0.2 + 1.3 * t))
    outer = np.stack([mean * belly, height * t], 1)
    soups, colliders = hollow_vessel(outer, 0.003)
    handle = handle_tube(
        float(outer[6, 0]) * 0.9, 0.35 * height, 0.9 * height, rng.uniform(0.03, 0.045), 0.011
    )
    colliders.append(
        Collider("box", (0.018, 0.005, 0.25 * height), (mean + 0.02, 0.0, 0.62 * height))
    )
    return [soups[0], handle], colliders


def superquadric(rng: Rng) -> Parts:
    """A rounded solid between ball, pillow, rounded block and spindle."""
    radii = rng.uniform(0.016, 0.06, 3) * rng.choice([1.0, 1.5], 3)
    soup = superquadric_soup(radii, (rng.uniform(0.15, 1.6), rng.uniform(0.15, 1.6)))
    return [soup], [hull(soup.triangles)]


def ball(rng: Rng) -> Parts:
    """A ball or an egg."""
    radius = rng.uniform(0.02, 0.05)
    radii = np.array([1, 1, rng.choice([1.0, rng.uniform(0.7, 1.4)])]) * radius
    soup = superquadric_soup(radii, (1.0, 1.0))
    return [soup], [Collider("ellipsoid", tuple(radii.tolist()))]


def fruit(rng: Rng) -> Parts:
    """An apple- or pear-like body with a stalk."""
    radius = rng.uniform(0.028, 0.045)
    t = np.linspace(0, np.pi, 18)
    swell = 1 + rng.uniform(-0.25, 0.25) * np.cos(t)
    profile = np.stack(
        [radius * np.sin(t) * swell, -radius * rng.uniform(0.85, 1.35) * np.cos(t)], 1
    )
    profile[[0, -1], 0] = 0
    top = float(profile[-1, 1])
    path = np.array([[0, 0, top - 0.004], [0.002, 0, top + 0.006], [0.006, 0, top + 0.015]])
    stalk = tube_soup(path, np.full(3, 0.0018), 6)
    body = lathe_soup(profile)
    return [body, stalk], [hull(body.triangles)]


def prism(rng: Rng) -> Parts:
    """A bar with a regular or irregular convex cross-section."""
    corners, radius = int(rng.integers(3, 9)), rng.uniform(0.02, 0.05)
    angles = np.sort(
        np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(-0.2, 0.2, corners)
    )
    outline = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    soup = extrude_soup(outline, rng.uniform(0.03, 0.18))
    return [soup], [hull(soup.triangles)]


def cookie_cutter(rng: Rng) -> Parts:
    """A flat part with a star-, gear- or flower-shaped outline."""
    lobes, radius = int(rng.integers(3, 11)), rng.uniform(0.03, 0.07)
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    wave = np.sin(lobes * angles)
    wave = np.sign(wave) * np.abs(wave) ** rng.choice([0.3, 1.0, 1.0])
    outline = (radius * (1 + rng.uniform(0.1, 0.3) * wave))[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)], 1
    )
    height = rng.uniform(0.012, 0.05)
    soup = extrude_soup(outline, height)
    colliders = []
    for k in range(8):
        wedge = np.concatenate(
            [[[0.0, 0.0]], outline[12 * k : 12 * k + 13 : 4], outline[(12 * k + 12) % 96][None]]
        )
        both = [
            np.concatenate([wedge, np.full((len(wedge), 1), z)], 1)
            for z in (-height / 2, height / 2)
        ]
        colliders.append(Collider("hull", points=np.concatenate(both)))
    return [soup], colliders


def box_compound(pieces: list[tuple[tuple[float, ...], tuple[float, float, float]]]) -> Parts:
    """Return boxes given as (xyz size, xyz centre), one material."""
    soups = [move_soup(box_soup(size), offset=centre) for size, centre in pieces]
    colliders = [Collider("box", tuple(s / 2 for s in size), centre) for size, centre in pieces]
    return [join_soups(soups)], colliders


def bracket(rng: Rng) -> Parts:
    """An L-, T- or U-shaped bracket."""
    long, tall, deep, thick = (
        rng.uniform(0.05, 0.14),
        rng.uniform(0.04, 0.12),
        rng.uniform(0.02, 0.07),
        rng.uniform(0.005, 0.022),
    )
    at = rng.choice(["l", "t", "u"])
    pieces = [((long, deep, thick), (0.0, 0.0, 0.0))]
    places = {"l": [-1.0], "t": [0.0], "u": [-1.0, 1.0]}[str(at)]
    pieces += [
        ((thick, deep, tall), (s * (long - thick) / 2, 0.0, (tall + thick) / 2)) for s in places
    ]
    return box_compound(pieces)


def cross_block(rng: Rng) -> Parts:
    """Two or three bars through one centre."""
    length, thick = rng.uniform(0.06, 0.14, 3), rng.uniform(0.015, 0.035)
    bars = [
        (float(length[0]), thick, thick),
        (thick, float(length[1]), thick),
        (thick, thick, float(length[2])),
    ]
    return box_compound([(bar, (0.0, 0.0, 0.0)) for bar in bars[: int(rng.integers(2, 4))]])


def toy_car(rng: Rng) -> Parts:
    """A toy car: body, cabin and four wheels."""
    long, wide, tall = rng.uniform(0.08, 0.16), rng.uniform(0.035, 0.07), rng.uniform(0.02, 0.04)
    wheel = rng.uniform(0.011, 0.02)
    soups, colliders = box_compound(
        [
            ((long, wide, tall), (0.0, 0.0, 0.0)),
            (
                (long * rng.uniform(0.35, 0.6), wide * 0.9, tall),
                (float(rng.uniform(-0.1, 0.1)) * long, 0.0, tall),
            ),
        ]
    )
    disc = np.array([[0, -0.006], [wheel, -0.006], [wheel, 0.006], [0, 0.006]])
    wheels = []
    for x in (-0.3 * long, 0.3 * long):
        for y in (-wide / 2 - 0.004, wide / 2 + 0.004):
            wheels.append(move_soup(lathe_soup(disc, 20), rotation_to(1), (x, y, -tall / 2)))
            colliders.append(
                Collider(
                    "cylinder", (wheel, 0.006), (x, y, -tall / 2), (0.7071068, 0.7071068, 0.0, 0.0)
                )
            )
    return [*soups, join_soups(wheels)], colliders


def tool(rng: Rng) -> Parts:
    """A hammer-, brush- or paddle-like thing: a handle with a head."""
    long, thick = rng.uniform(0.1, 0.17), rng.uniform(0.007, 0.014)
    path = np.stack([np.linspace(0, long, 8), np.zeros(8), np.zeros(8)], 1)
    handle = tube_soup(path, thick * (1 + 0.25 * np.sin(np.linspace(0, rng.uniform(2, 6), 8))), 14)
    size = (rng.uniform(0.015, 0.05), rng.uniform(0.03, 0.09), rng.uniform(0.015, 0.04))
    head = superquadric_soup(np.array(size) / 2, (rng.uniform(0.1, 1), rng.uniform(0.1, 1)))
    head = move_soup(head, offset=(long + size[0] / 3, 0, 0))
    colliders = [
        Collider(
            "capsule",
            (thick, long / 2 - thick),
            (long / 2, 0.0, 0.0),
            (0.7071068, 0.0, 0.7071068, 0.0),
        ),
        hull(head.triangles),
    ]
    return [handle, head], colliders


def ring(rng: Rng) -> Parts:
    """A ring or a roll of tape."""
    radius, height, wall = (
        rng.uniform(0.025, 0.06),
        rng.uniform(0.01, 0.06),
        rng.uniform(0.006, 0.02),
    )
    half, inner = height / 2, radius - wall
    profile = np.array(
        [[inner, half], [inner, -half], [radius, -half], [radius, half], [inner, half]]
    )
    colliders = wall_colliders(profile[[2, 3]], profile[[1, 0]], 12)
    return [lathe_soup(profile)], colliders


def bent_tube(rng: Rng) -> Parts:
    """A bent bar such as a banana, a hook or a piece of hose."""
    bend, radius = rng.uniform(0.6, 3.6), rng.uniform(0.04, 0.08)
    t = np.linspace(-bend / 2, bend / 2, 20)
    path = radius * np.stack([np.cos(t), np.sin(t), 0 * t], 1)
    thick = rng.uniform(0.008, 0.02) * (1 - rng.uniform(0, 0.7) * np.linspace(-1, 1, 20) ** 4)
    soup = tube_soup(path, thick, 14)
    colliders = []
    for k in range(0, 19, 3):
        ends = path[[k, min(k + 3, 19)]]
        middle, along = ends.mean(0), ends[1] - ends[0]
        turn = float(np.arctan2(along[1], along[0]))
        quat = (float(np.cos(turn / 2)), 0.0, 0.0, float(np.sin(turn / 2)))
        side = float(thick[k])
        size = (float(np.linalg.norm(along)) / 2, side * 0.9, side * 0.9)
        colliders.append(Collider("box", size, (float(middle[0]), float(middle[1]), 0.0), quat))
    return [soup], colliders


def cone(rng: Rng) -> Parts:
    """A cone, frustum or funnel-like solid."""
    low, high, height = rng.uniform(0.025, 0.055), rng.uniform(0, 0.03), rng.uniform(0.04, 0.14)
    soup = lathe_soup(
        np.array([[0, 0], [low, 0], [(low + high) / 2, height / 2], [high, height], [0, height]]),
        36,
    )
    return [soup], [hull(soup.triangles)]


def spool(rng: Rng) -> Parts:
    """A spool or dumb-bell: two discs on an axle."""
    rims, axle = rng.uniform(0.02, 0.045, 2), rng.uniform(0.008, 0.018)
    half, flange = rng.uniform(0.025, 0.07), rng.uniform(0.006, 0.025)
    pieces = [
        (rims[0], -half, -half + flange),
        (axle, -half + flange, half - flange),
        (rims[1], half - flange, half),
    ]
    soups = [lathe_soup(np.array([[0, a], [r, a], [r, b], [0, b]])) for r, a, b in pieces]
    return [join_soups([soups[0], soups[2]]), soups[1]], [
        disc_collider(float(r), float(a), float(b)) for r, a, b in pieces
    ]


def figure(rng: Rng) -> Parts:
    """A toy figure: rounded solids stacked and stuck to each other."""
    soups, colliders = [], []
    z = 0.0
    for _ in range(int(rng.integers(2, 5))):
        radii = rng.uniform(0.014, 0.04, 3)
        soup = superquadric_soup(radii, (rng.uniform(0.2, 1.3), rng.uniform(0.2, 1.3)), 16)
        offset = (*rng.uniform(-0.012, 0.012, 2), z + radii[2] * 0.85)
        z += radii[2] * 1.7
        soups.append(move_soup(soup, offset=offset))
        colliders.append(hull(soups[-1].triangles, 60))
    return soups, colliders


def spray_bottle(rng: Rng) -> Parts:
    """A flat bottle with a pump or trigger on top."""
    radii = np.array([rng.uniform(0.025, 0.04), rng.uniform(0.018, 0.03), rng.uniform(0.05, 0.08)])
    body = superquadric_soup(radii, (0.3, rng.uniform(0.3, 1)))
    top = float(radii[2])
    neck = move_soup(
        lathe_soup(np.array([[0, -0.005], [0.009, -0.005], [0.009, 0.025], [0, 0.025]])),
        offset=(0, 0, top),
    )
    size, centre = (rng.uniform(0.03, 0.06), 0.016, 0.016), (0.012, 0.0, top + 0.03)
    nozzle = move_soup(box_soup(size), offset=centre)
    colliders = [
        hull(body.triangles),
        Collider("box", (size[0] / 2, 0.008, 0.02), (0.012, 0.0, top + 0.015)),
    ]
    return [body, join_soups([neck, nozzle])], colliders


def open_box(rng: Rng) -> Parts:
    """A small open box or tray."""
    x, y, z = rng.uniform(0.07, 0.16), rng.uniform(0.06, 0.13), rng.uniform(0.025, 0.07)
    wall = rng.uniform(0.003, 0.006)
    pieces = [((x, y, wall), (0.0, 0.0, wall / 2))]
    pieces += [((wall, y, z), (s * (x - wall) / 2, 0.0, z / 2)) for s in (-1, 1)]
    pieces += [((x, wall, z), (0.0, s * (y - wall) / 2, z / 2)) for s in (-1, 1)]
    return box_compound(pieces)


MAKERS: dict[str, tuple[Callable[[Rng], Parts], float]] = {
    "box": (box, 3.0),
    "book": (book, 1.0),
    "can": (can, 1.5),
    "bottle": (bottle, 1.5),
    "jar": (jar, 1.0),
    "cup": (cup, 1.2),
    "bowl": (bowl, 1.2),
    "vase": (vase, 0.7),
    "plate": (plate, 0.6),
    "mug": (mug, 1.6),
    "pitcher": (pitcher, 0.7),
    "superquadric": (superquadric, 1.6),
    "ball": (ball, 0.7),
    "fruit": (fruit, 0.9),
    "prism": (prism, 1.0),
    "cookie_cutter": (cookie_cutter, 0.7),
    "bracket": (bracket, 1.0),
    "cross_block": (cross_block, 0.5),
    "toy_car": (toy_car, 0.9),
    "tool": (tool, 1.0),
    "ring": (ring, 0.8),
    "bent_tube": (bent_tube, 1.0),
    "cone": (cone, 0.6),
    "spool": (spool, 0.6),
    "figure": (figure, 1.0),
    "spray_bottle": (spray_bottle, 1.0),
    "open_box": (open_box, 0.8),
}


def dress(rng: Rng, soup: Soup) -> Surface:
    """Return a soup as a surface with a random procedural material."""
    plain = rng.random() < 0.15
    # Row 0 of a texture lies at v = 0: turned over, writing can be read.
    texture = None if plain else paint_texture(rng, OBJECT_PAINTERS)[::-1]
    red, green, blue = (random_rgb(rng) if plain else np.ones(3)).tolist()
    return Surface(
        triangles=soup.triangles,
        normals=corner_normals(soup.triangles),
        uvs=soup.uvs * rng.choice([1.0, 1.0, 2.0]),
        texture=texture,
        rgb=(red, green, blue),
        specular=float(rng.uniform(0, 1) ** 2),
        shininess=float(rng.uniform(0.05, 0.9)),
    )


def make_procedural_asset(rng: Rng, name: str | None = None) -> Asset:
    """Return a random object, of category `name` or (None) of a category drawn by weight.

    Raises:
        KeyError: If there is no such category.
    """
    weights = np.array([weight for _, weight in MAKERS.values()])
    drawn = str(rng.choice(list(MAKERS), p=weights / weights.sum()))
    name = drawn if name is None else name
    soups, colliders = MAKERS[name][0](rng)
    return Asset("procedural", name, tuple(dress(rng, soup) for soup in soups), tuple(colliders))
