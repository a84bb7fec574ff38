"""Rendering's system libraries: installed where the user may, named in one sentence elsewhere."""

import os

import pytest

from environment.setup import system_libraries


@pytest.fixture
def machine_without_egl(tmp_path, monkeypatch):
    """No EGL, and a PATH on which programs can be put."""
    monkeypatch.setattr(system_libraries, "rendering_libraries_present", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def add_program(folder, name, script):
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_a_package_manager_one_sentence_names_the_command(machine_without_egl, capsys):
    system_libraries.install_rendering_libraries()
    assert capsys.readouterr().err.splitlines() == [
        "Rendering training scenes needs EGL and Mesa, which are missing: run "
        "`sudo apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri`."
    ]


def test_user_without_rights_is_told_the_command_and_nothing_is_run(
    machine_without_egl, capsys, monkeypatch
):
    log = machine_without_egl / "log"
    add_program(machine_without_egl, "apt-get", f'echo "$@" >> {log}')
    add_program(machine_without_egl, "sudo", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    system_libraries.install_rendering_libraries()
    assert "run `sudo apt-get install" in capsys.readouterr().err
    assert not log.exists()


@pytest.mark.parametrize(
    ("user_id", "via"), [(0, "itself"), (1000, "sudo")], ids=["root", "passwordless sudo"]
)
def test_user_with_rights_gets_both_packages(machine_without_egl, monkeypatch, user_id, via):
    log = machine_without_egl / "log"
    add_program(machine_without_egl, "apt-get", f'echo "${{VIA:-itself}} $@" >> {log}')
    add_program(machine_without_egl, "sudo", 'shift; [ "$1" = true ] || VIA=sudo exec "$@"')
    monkeypatch.setattr(os, "geteuid", lambda: user_id)
    system_libraries.install_rendering_libraries()
    assert log.read_text().splitlines() == [
        f"{via} -qq update",
        f"{via} -qq install -y --no-install-recommends libegl1 libgl1-mesa-dri",
    ]


def test_nothing_is_installed_where_the_libraries_are(machine_without_egl, monkeypatch):
    log = machine_without_egl / "log"
    add_program(machine_without_egl, "apt-get", f'echo "$@" >> {log}')
    monkeypatch.setattr(system_libraries, "rendering_libraries_present", lambda: True)
    system_libraries.install_rendering_libraries()
    assert not log.exists()


def test_the_browser_is_installed_where_it_is_missing_and_the_user_may(
    machine_without_egl, monkeypatch
):
    log = machine_without_egl / "log"
    add_program(machine_without_egl, "apt-get", f'echo "$@" >> {log}')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    system_libraries.install_browser()
    assert log.read_text().splitlines() == [
        "-qq update",
        "-qq install -y --no-install-recommends chromium",
    ]

    add_program(machine_without_egl, "chromium", "exit 0")
    log.unlink()
    system_libraries.install_browser()
    assert not log.exists()


def test_without_a_package_manager_the_browsers_command_is_named(machine_without_egl, capsys):
    system_libraries.install_browser()
    assert capsys.readouterr().err.splitlines() == [
        "Testing reports needs Chromium, which is missing: run "
        "`sudo apt-get install -y --no-install-recommends chromium`."
    ]
