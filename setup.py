"""Packaging for pip: `pip install .` gives `sameo_model`; colcon builds `sameo_ros` with CMake.

Name, version, dependencies and extras stand in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["sameo_model", "sameo_model.*"]),
    package_data={"sameo_model": ["weights/*", "weights/*/*"]},
)
