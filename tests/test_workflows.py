"""The handbook's GitHub Actions workflows: minimal permissions, and steps that really run."""

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from lib.sites.detection import detect_site
from tests.api import ADMIN_KEY, listening
from tests.conftest import MakeSettings
from tests.handbook import ROOT, block, blocks
from tests.logged import asked, write_log
from tests.shell import ShellResult, run
from tests.tiny_book import BOOK, write_book

PUSH = "Push the docs on each site build"
PUSH_BUILD = "Push the built site"
DEPLOY = "Space deployment"
REPORT = "Weekly report of reader questions"
"""Headings of the chapter on GitHub Actions."""


def workflow(heading: str) -> dict[str, Any]:
    text = block("github-actions.md", heading, "yaml")
    # YAML 1.1 parses the key `on` as true.
    return dict(yaml.safe_load(re.sub(r"^on:", "'on':", text, flags=re.MULTILINE)))


def steps(heading: str) -> dict[str, dict[str, Any]]:
    """Return the steps that run a script, by name."""
    if heading == PUSH_BUILD:
        (step,) = yaml.safe_load(block("github-actions.md", heading, "yaml"))
        return {step["name"]: step}
    (job,) = workflow(heading)["jobs"].values()
    assert job["defaults"]["run"]["shell"] == "bash"
    return {step["name"]: step for step in job["steps"] if "run" in step}


@pytest.mark.parametrize("heading", [PUSH, DEPLOY])
def test_workflows_have_minimal_permissions(heading: str) -> None:
    whole = workflow(heading)
    assert whole["permissions"] == {"contents": "read"}
    assert whole["concurrency"]["cancel-in-progress"] is False
    assert set(whole["on"]) == {"push", "workflow_dispatch"}
    (job,) = whole["jobs"].values()
    assert job["timeout-minutes"] <= 60
    used = [step for step in job["steps"] if "uses" in step]
    assert used
    for step in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert step["with"]["persist-credentials"] is False
    # Secrets go only to the step that needs them, and never into a script's text.
    assert "secrets." not in json.dumps(job.get("env", {}))
    assert "${{" not in "".join(step.get("run", "") for step in job["steps"])


def test_report_workflow_may_only_write_issues() -> None:
    whole = workflow(REPORT)
    assert whole["permissions"] == {"issues": "write"}
    assert set(whole["on"]) == {"schedule", "workflow_dispatch"}
    (job,) = whole["jobs"].values()
    assert job["timeout-minutes"] <= 60
    assert not [step for step in job["steps"] if "uses" in step]
    assert "secrets." not in json.dumps(job["env"])
    assert "${{" not in "".join(step["run"] for step in job["steps"])
    # The step that calls Quire has no token, and the one with the token no key of Quire.
    for step in job["steps"]:
        assert not {"ADMIN_API_KEY", "GH_TOKEN"} <= set(step.get("env", {}))


def test_pinned_actions_name_their_version() -> None:
    (text, other) = (block("github-actions.md", heading, "yaml") for heading in (PUSH, DEPLOY))
    for line in re.findall(r"uses: .*", text + other):
        assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


CHECKOUT = {
    "mkdocs.yml": "site_name: Harbour\nsite_url: https://you.github.io/book/\n",
    **{f"docs/{path}": text for path, text in BOOK.items()},
    "docs/ropes.md": "# Ropes\n\n## Splicing\n\nA rope is spliced by its three strands.\n",
}


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@dataclass(frozen=True)
class Runner:
    """Runs the steps of a workflow in a checkout."""

    folder: Path
    address: str

    @classmethod
    def of(cls, folder: Path, address: str, files: Mapping[str, str]) -> "Runner":
        write_book(folder / "checkout", files)
        # Shorten the pauses between status requests.
        write_script(folder / "bin/sleep", "#!/bin/sh\nexec /bin/sleep 0.02\n")
        return cls(folder, address)

    async def step(self, name: str, heading: str = PUSH, **secrets: str) -> ShellResult:
        output = self.folder / "output"
        output.touch()
        outputs = dict(line.partition("=")[::2] for line in output.read_text().splitlines())

        def value(expression: str) -> str:
            found = re.fullmatch(
                r"\$\{\{ (secrets|vars|github|steps\.push\.outputs)\.(\w+) \}\}", expression
            )
            assert found, expression
            return (outputs if found[1].startswith("steps") else secrets)[found[2]]

        step = steps(heading)[name]
        environment = {each: value(raw) for each, raw in step.get("env", {}).items()}
        environment |= {
            "ASK_URL": self.address,
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(output),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }
        return await run(step["run"], self.folder / "checkout", environment)


needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("tar")), reason="curl or tar is not installed"
)
WAIT, SEND, FOLLOW = "Wait until Quire is awake and idle", "Push", "Wait until it is ingested"


@needs_curl
async def test_push_workflow_ingests_the_docs(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    settings = make_settings(qdrant_path=own_index, site_generator="auto", site_url="")
    async with listening(settings) as address, aiohttp.ClientSession() as client:
        runner = Runner.of(tmp_path, address, CHECKOUT)
        assert list(steps(PUSH)) == [WAIT, SEND, FOLLOW]
        for name in (WAIT, SEND, FOLLOW):
            ran = await runner.step(name, ADMIN_API_KEY=ADMIN_KEY)
            assert ran.code == 0, f"{name}: {ran.output}"
        assert '"status": "completed"' in ran.output
        asked = {"q": "How is a rope spliced?", "k": "1"}
        async with client.get(f"{address}/search", params=asked) as response:
            (passage,) = (await response.json())["passages"]
        assert passage["url"].startswith("https://you.github.io/book/ropes/#")


@needs_curl
async def test_push_workflow_takes_the_built_site(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    page = '<html><link rel="canonical" href="https://you.github.io/book/{0}"><main>{1}</main>'
    built = {
        "site/index.html": page.format("", "<h1>Home</h1><p>Welcome to the harbour.</p>"),
        "site/404.html": "<main>Nothing stands at this address.</main>",
        "site/my ropes/index.html": page.format(
            "my%20ropes/", "<h1>Ropes</h1><h2 id='s'>Splicing</h2><p>A rope has three strands.</p>"
        ),
        "site/assets/picture.png": "not read",
        "site/sitemap.xml": "<urlset/>",
    }
    settings = make_settings(qdrant_path=own_index, site_generator="auto", site_url="")
    async with listening(settings) as address, aiohttp.ClientSession() as client:
        runner = Runner.of(tmp_path, address, CHECKOUT | built)
        for name, heading in ((WAIT, PUSH), (SEND, PUSH_BUILD), (FOLLOW, PUSH)):
            ran = await runner.step(name, heading, ADMIN_API_KEY=ADMIN_KEY)
            assert ran.code == 0, f"{name}: {ran.output}"
        async with client.get(f"{address}/search?q=rope+strands&k=1") as response:
            (passage,) = (await response.json())["passages"]
        assert passage["url"] == "https://you.github.io/book/my%20ropes/#s"


@needs_curl
@pytest.mark.parametrize(
    ("key", "files", "fails", "says"),
    [
        ("a-wrong-key", CHECKOUT, SEND, "UNAUTHORIZED"),
        (
            ADMIN_KEY,
            {"mkdocs.yml": "site_name: x\n", "docs/a.txt": "x"},
            FOLLOW,
            "the folder has no Markdown or HTML files",
        ),
    ],
    ids=["wrong key", "no pages"],
)
async def test_push_workflow_reports_failures(
    make_settings: MakeSettings,
    own_index: Path,
    tmp_path: Path,
    key: str,
    files: Mapping[str, str],
    fails: str,
    says: str,
) -> None:
    async with listening(make_settings(qdrant_path=own_index)) as address:
        runner = Runner.of(tmp_path, address, files)
        for name in (WAIT, SEND, FOLLOW):
            ran = await runner.step(name, ADMIN_API_KEY=key)
            if name == fails:
                assert ran.code != 0
                assert says in ran.output
                break
            assert ran.code == 0, f"{name}: {ran.output}"


@needs_curl
async def test_push_workflow_fails_without_a_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    runner = Runner.of(tmp_path, f"http://127.0.0.1:{port}", CHECKOUT)
    (tmp_path / "bin/sleep").write_text("#!/bin/sh\n")
    ran = await runner.step(WAIT)
    assert ran.code == 1
    assert "There is no idle Quire at" in ran.output


AWAKE, FETCH, OPEN = "Wait until Quire is awake", "Fetch the report", "Open an issue"
HOSTILE = (
    "$(touch stolen) `touch stolen`\n::error::stop\nNo questions were asked.\n"
    "'; touch stolen; ' @everyone fixes #1 </details><img src=x>"
)
GH = """#!/bin/sh
printf '%s\\0' "$@" >> "$RUNNER_TEMP/gh"
printf '\\0' >> "$RUNNER_TEMP/gh"
test "$GH_TOKEN" = a-token && test "$GH_REPO" = me/book || exit 4
test "$1 $2" != "issue list" || echo 17
"""
"""Records the arguments of each call. One issue is open."""


def files_named(folder: Path, name: str) -> list[Path]:
    return list(folder.rglob(name))


def calls_of_gh(folder: Path) -> list[list[str]]:
    if not (folder / "gh").exists():
        return []
    calls = (folder / "gh").read_text(encoding="utf-8").split("\0\0")
    return [call.split("\0") for call in calls[:-1]]


async def run_report(folder: Path, address: str, key: str = ADMIN_KEY) -> dict[str, ShellResult]:
    """Run the steps of the report workflow until one fails."""
    runner = Runner.of(folder, address, {})
    (folder / "checkout").mkdir(exist_ok=True)
    write_script(folder / "bin/gh", GH)
    ran: dict[str, ShellResult] = {}
    secrets = {"ADMIN_API_KEY": key, "token": "a-token", "repository": "me/book"}
    assert list(steps(REPORT)) == [AWAKE, FETCH, OPEN]
    for name in (AWAKE, FETCH, OPEN):
        ran[name] = await runner.step(name, REPORT, **secrets)
        assert key not in ran[name].output
        if ran[name].code:
            break
    return ran


@needs_curl
@pytest.mark.skipif(sys.platform != "linux", reason="needs GNU date, as on GitHub's runners")
async def test_report_workflow_replaces_the_issue(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    await write_log(own_index, asked("Where is the mole?", outcome="refused"), asked(HOSTILE))
    settings = make_settings(qdrant_path=own_index, question_log=30)
    async with listening(settings) as address:
        ran = await run_report(tmp_path, address)
    assert ran[OPEN].code == 0, ran
    label, listed, created, closed = calls_of_gh(tmp_path)
    assert label[:3] == ["label", "create", "reader-questions"]
    assert listed[:2] == ["issue", "list"]
    assert created[:4] == ["issue", "create", "--label", "reader-questions"]
    assert re.fullmatch(r"Reader questions, 20\d\d-W\d\d", created[-1])
    assert closed == ["issue", "close", "17"]
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert created[5] == str(tmp_path / "report.md")
    assert "`Where is the mole?`" in report
    assert not files_named(tmp_path, "stolen")
    # Only GitHub's own lines of a log may begin with two colons.
    assert "\n::" not in report
    assert "mole" not in "".join(each.output for each in ran.values())


@needs_curl
async def test_report_workflow_opens_no_issue_without_questions(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    async with listening(make_settings(qdrant_path=own_index, question_log=30)) as address:
        ran = await run_report(tmp_path, address)
    assert ran[OPEN].code == 0, ran
    assert calls_of_gh(tmp_path) == []


@needs_curl
@pytest.mark.parametrize(
    ("days", "key", "says"),
    [(0, ADMIN_KEY, "Set QUESTION_LOG=30d"), (30, "a-wrong-key", "UNAUTHORIZED")],
    ids=["no log", "wrong key"],
)
async def test_report_workflow_fails_with_the_reason(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path, days: int, key: str, says: str
) -> None:
    async with listening(make_settings(qdrant_path=own_index, question_log=days)) as address:
        ran = await run_report(tmp_path, address, key)
    assert list(ran) == [AWAKE, FETCH]
    assert ran[FETCH].code == 1
    assert says in ran[FETCH].output


async def test_deployment_copies_the_book_and_its_configuration(tmp_path: Path) -> None:
    write_book(tmp_path / "book", CHECKOUT)
    write_book(tmp_path / "space", {"book_content/old.md": "# Old\n", ".git/config": ""})
    (tmp_path / "space/scripts").mkdir()
    shutil.copy(ROOT / "scripts/make_space_readme.py", tmp_path / "space/scripts")
    ran = await run(steps(DEPLOY)["Put the book into the Space"]["run"], tmp_path)
    assert ran.code == 0, ran.output
    content = tmp_path / "space/book_content"
    found = {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}
    assert found == set(CHECKOUT)
    assert not (tmp_path / "space/.git").exists()
    assert '\ntitle: "Ask my book"\n' in (tmp_path / "space/README.md").read_text(encoding="utf-8")
    site = detect_site(content)
    assert (site.generator.name, site.base_url) == ("mkdocs", "/book/")


@pytest.mark.parametrize("command", [r'hf"? upload', "make_space_readme.py"])
def test_manual_upload_matches_the_workflow(command: str) -> None:
    by_hand, by_workflow = (
        re.findall(rf"{command} ([^\\\n]*)", "".join(each.code for each in found))
        for found in (
            blocks("sh", page="hugging-face.md"),
            blocks("yaml", page="github-actions.md"),
        )
    )
    assert [each.strip() for each in by_workflow] == by_hand
    assert by_hand
