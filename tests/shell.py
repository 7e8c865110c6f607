"""Run scripts of the handbook as GitHub Actions does with `shell: bash`."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ShellResult:
    code: int
    output: str


async def run(
    script: str, folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 30
) -> ShellResult:
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return ShellResult(process.returncode, output.decode())
