"""Run a real nginx with a configuration from the handbook."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
START_SECONDS = 10.0
CONFIG_TEMPLATE = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {config}
}}
"""

needs_nginx = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")


@asynccontextmanager
async def running_nginx(folder: Path, config: str) -> AsyncIterator[str]:
    """Run nginx on a free port in place of port 80 of `config`; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert config.count("listen 80;") == 1
    config = config.replace("listen 80;", f"listen 127.0.0.1:{port};")
    # Workers of root would switch to `nobody`, which cannot write to the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(CONFIG_TEMPLATE.format(folder=folder, config=config, user=user))
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "-c", str(file), "-p", str(folder), "-e", "stderr")
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await accepts_connections(port):
                assert process.returncode is None
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def accepts_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
