"""Solid things: boxes, books, rounded and extruded solids, brackets, tools, toys.

Every maker takes a random generator and returns soups (one per material) and convex colliders, in
metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sameo_model.synthesis.assets import Collider
from sameo_model.synthesis.colliders import Parts, disc_collider, hull
from sameo_model.synthesis.surfaces import (
    Z_TO_Y,
    box_soup,
    extrude_soup,
    join_soups,
    lathe_soup,
    move_soup,
    superquadric_soup,
    tube_soup,
)

Rng = np.random.Generator
BoxPiece = tuple[tuple[float, ...], tuple[float, float, float]]


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


def box_compound(pieces: Sequence[BoxPiece]) -> Parts:
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
    pieces: list[BoxPiece] = [((long, deep, thick), (0.0, 0.0, 0.0))]
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
            wheels.append(move_soup(lathe_soup(disc, 20), Z_TO_Y, (x, y, -tall / 2)))
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


def open_box(rng: Rng) -> Parts:
    """A small open box or tray."""
    x, y, z = rng.uniform(0.07, 0.16), rng.uniform(0.06, 0.13), rng.uniform(0.025, 0.07)
    wall = rng.uniform(0.003, 0.006)
    pieces: list[BoxPiece] = [((x, y, wall), (0.0, 0.0, wall / 2))]
    pieces += [((wall, y, z), (s * (x - wall) / 2, 0.0, z / 2)) for s in (-1, 1)]
    pieces += [((x, wall, z), (0.0, s * (y - wall) / 2, z / 2)) for s in (-1, 1)]
    return box_compound(pieces)
