"""The script `make_space_readme`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.settings import Settings

ROOT = Path(__file__).parents[1]


def front_matter(*arguments: str) -> dict[str, Any]:
    """Run the script by its path and without installed packages, as a workflow does."""
    made = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "scripts/make_space_readme.py", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    before, text, body = made.stdout.split("---\n")
    assert before == ""
    assert body.strip()
    return dict(yaml.safe_load(text))


def test_a_space_runs_the_dockerfile_on_the_default_port() -> None:
    space = front_matter()
    assert (space["title"], space["sdk"], space["license"]) == ("Quire", "docker", "mit")
    assert space["app_port"] == Settings().api_port
    assert len(space["short_description"]) <= 60, "the limit of Hugging Face"


@pytest.mark.parametrize("title", ["Ask my book", 'Knots: "A & B" # 2', "كتاب", "- a\n---\nb"])
def test_the_title_of_a_space_may_have_any_characters(title: str) -> None:
    assert front_matter("--title", title)["title"] == title


def test_a_space_may_use_another_port() -> None:
    assert front_matter("--port", "8080")["app_port"] == 8080
