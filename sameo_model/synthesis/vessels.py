"""Things turned on a lathe: cans, bottles, cups, bowls, mugs; hollow ones are hollow.

Every maker takes a random generator and returns soups (one per material) and convex colliders, in
metres. Colliders of hollow things leave the hollow free, so that others can fall in.
"""

from __future__ import annotations

import numpy as np

from sameo_model.synthesis.assets import Collider
from sameo_model.synthesis.colliders import Parts, disc_collider, hull, wall_colliders
from sameo_model.synthesis.surfaces import (
    Array,
    Soup,
    box_soup,
    join_soups,
    lathe_soup,
    move_soup,
    superquadric_soup,
    tube_soup,
)

Rng = np.random.Generator


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
