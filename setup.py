"""Packaging for pip: `pip install .` gives `sameo_model`; colcon builds `sameo_ros` with CMake.

Name, version, dependencies and extras stand in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    # The configuration files lie beside the package in the sources, and inside it when installed.
    packages=[*find_packages(include=["sameo_model", "sameo_model.*"]), "sameo_model.config"],
    package_dir={"sameo_model.config": "config"},
    package_data={
        "sameo_model": ["weights/*", "weights/*/*", "playground/page.*"],
        "sameo_model.config": ["*/*.yaml", "*/*.sh"],
    },
)
