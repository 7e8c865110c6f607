"""Quire's composition root and command line.

python main.py                    serve
python main.py ingest [PATH]      index the book from the shell
python main.py ask "question"     ask it from the shell
python main.py eval QUESTIONS     measure it with golden questions
"""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from uuid import uuid4

from dotenv import load_dotenv
from quart import Quart, Response, g, request
from quart_cors import cors
from quart_rate_limiter import RateLimiter

from handlers import archive, chat, health, ingest, pages, search
from handlers.drain import Drain
from handlers.failures import register_failures
from handlers.limits import BoundedStore
from lib.services import open_services, warm_up
from lib.settings import Settings, SettingsError, load_settings

MAX_BODY_BYTES = 256 * 1024
GRACE_SECONDS = 2.0
"""So long open streams may go on after the server was told to stop."""
ALLOWED_HEADERS = (
    "Content-Type",
    "Accept",
    "Authorization",
    "X-API-Key",
    "X-Anonymous-Session-ID",
    "X-Request-Id",
)
EXPOSED_HEADERS = (
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-Session-Id",
    "X-Request-Id",
)


def create_app(settings: Settings | None = None) -> Quart:
    """The application. Without `settings` they are read from the environment and `.env`."""
    settings = settings or read_settings()
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.request_class = archive.request_class(settings)

    for module in (chat, search, ingest, archive, health, pages):
        app.register_blueprint(module.blueprint)
    register_failures(app)

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        async with open_services(settings) as services:
            app.extensions["services"] = services
            warming = asyncio.create_task(warm_up(services))
            try:
                yield
            finally:
                warming.cancel()
                await asyncio.wait((warming,))

    @app.before_request
    async def name_request() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", given) else uuid4().hex

    RateLimiter(app, store=BoundedStore(), enabled=settings.rate_limit_enabled)

    @app.after_request
    async def tell_request(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    served: Quart = cors(
        app,
        allow_origin=settings.origins,
        allow_credentials=True,  # existing widgets ask for it; no cookie is ever set or read
        allow_headers=ALLOWED_HEADERS,
        allow_methods=("GET", "HEAD", "POST", "OPTIONS"),
        expose_headers=EXPOSED_HEADERS,
        max_age=86_400,
    )
    return served


def read_settings() -> Settings:
    """From the environment, and for what it lacks from `.env`. Raises `SettingsError`."""
    load_dotenv(override=False)
    return load_settings(os.environ)


def main(arguments: list[str]) -> int:
    """Run the command line; the exit code is 0 for success, 1 for failure, 2 for wrong usage."""
    from lib.commands import parse_arguments, run_ask, run_eval, run_ingest

    command = parse_arguments(arguments)
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"Quire cannot start: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("httpx", "httpx2", "markdown_it"):  # a line for each request, or each rule
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))
    match command.command:
        case "ingest":
            return asyncio.run(run_ingest(settings, command))
        case "ask":
            return asyncio.run(run_ask(settings, command.question))
        case "eval":
            return asyncio.run(run_eval(settings, command))
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serve in this one process until it is told to stop; streams then have a moment to end."""
    from hypercorn.asyncio import serve as serve_app
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{settings.api_host}:{settings.api_port}"]
    config.graceful_timeout = GRACE_SECONDS + 1
    config.accesslog = "-" if settings.log_level == "DEBUG" else None
    config.errorlog = logging.getLogger("hypercorn.error")

    # While an ingestion's threads work, the event loop waits for so long each time it has to wake.
    sys.setswitchinterval(0.0005)

    async def run() -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        app = Drain(create_app(settings))
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, told.set)

        async def stop() -> None:
            await told.wait()
            loop.call_later(GRACE_SECONDS, app.close)

        await serve_app(app, config, shutdown_trigger=stop)

    try:
        asyncio.run(run())
    except OSError as error:
        reason = error.strerror or "the system refuses"
        print(
            f"Quire cannot listen on {config.bind[0]}: {reason}. See API_HOST and API_PORT.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
