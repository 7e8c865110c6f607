import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.renamed import RENAMED, complaints
from lib.settings import Settings, SettingsError, load_settings, setting_names

ROOT = Path(__file__).parents[2]


def test_old_names_lead_to_settings() -> None:
    assert set(RENAMED.values()) <= set(setting_names())
    assert not set(RENAMED) & set(setting_names())


def test_an_old_name_works_and_the_new_one_wins() -> None:
    assert load_settings({"QDRANT_COLLECTION_NAME": "old"}).qdrant_collection == "old"
    both = {"QDRANT_COLLECTION_NAME": "old", "QDRANT_COLLECTION": "new"}
    assert load_settings(both).qdrant_collection == "new"
    empty = {"QDRANT_COLLECTION_NAME": "old", "QDRANT_COLLECTION": " "}
    assert load_settings(empty).qdrant_collection == "old"
    assert load_settings({"QDRANT_COLLECTION_NAME": " "}) == Settings()


def test_a_wrong_value_is_said_by_the_name_that_has_it() -> None:
    with pytest.raises(SettingsError, match=r"^OPENAI_API_BASE is 'localhost'"):
        load_settings({"OPENAI_API_BASE": "localhost"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OPENAI_MODEL_NAME": "m"}, ["OPENAI_MODEL_NAME is now called OPENAI_MODEL"]),
        ({"OPENAI_MODEL_NAME": "m", "OPENAI_MODEL": "n"}, ["OPENAI_MODEL_NAME is not read"]),
        ({"OPENAI_MODEL_NAME": " "}, []),
        ({"QDRANT_ULR": "x"}, ["QDRANT_ULR is no setting and is not read: is QDRANT_URL meant?"]),
        ({"API_PROT": "1"}, ["is API_PORT meant?"]),
        ({"ALLOWED_ORIGIN": "x"}, ["is ALLOWED_ORIGINS meant?"]),
        ({"OPENAI_APIKEY": "x"}, ["is OPENAI_API_KEY meant?"]),
        ({"SITE_GENERATER": "x"}, ["is SITE_GENERATOR meant?"]),
        (dict.fromkeys(setting_names(), "x"), []),
    ],
)
def test_what_is_told(environ: dict[str, str], expected: list[str]) -> None:
    told = complaints(environ, setting_names())
    assert len(told) == len(expected)
    for line, words in zip(told, expected, strict=True):
        assert words in line


OTHER_PROGRAMS = """
API_KEY API_URL API_BASE API_TOKEN OPENAI_API_TYPE OPENAI_API_VERSION OPENAI_ORGANIZATION
OPENAI_ORG_ID OPENAI_PROJECT_ID OPENAI_LOG QDRANT__SERVICE__API_KEY QDRANT__SERVICE__GRPC_PORT
QDRANT_PORT QDRANT_SERVICE_HOST QDRANT_SERVICE_PORT QDRANT_PORT_6333_TCP QDRANT_PORT_6333_TCP_ADDR
QDRANT_HOST QDRANT_TEST_URL QDRANT_TEST_API_KEY QDRANT_OPENAPI
REDIS_HOST REDIS_PORT REDIS_PASSWORD LOG_FILE LOGNAME LOG_DIR MAX_TOKENS MAX_WORKERS
SITE_NAME SITE_ID SITE_PACKAGES PATH HOME HOSTNAME PORT SPACE_ID SPACE_HOST LANG LC_ALL
"""


def test_variables_of_other_programs_are_no_misspellings() -> None:
    assert complaints(dict.fromkeys(OTHER_PROGRAMS.split(), "x"), setting_names()) == []


def test_a_start_says_it_once_in_the_log() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "OPENAI_MODEL_NAME": "m",
        "QDRANT_ULR": "http://secret.example",
        "API_HOST": "256.256.256.256",  # so that it ends before it serves
    }
    run = [sys.executable, "main.py"]
    done = subprocess.run(run, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stderr.count("OPENAI_MODEL_NAME is now called OPENAI_MODEL") == 1
    assert done.stderr.count("is QDRANT_URL meant?") == 1
    assert "WARNING" in done.stderr
    assert "secret" not in done.stderr
