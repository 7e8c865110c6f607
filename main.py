"""Quire's composition root and command line.

python main.py                    serve
python main.py ingest [PATH]      index the book from the shell
python main.py ask "question"     ask it from the shell
python main.py eval QUESTIONS     measure it with golden questions
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable

from dotenv import load_dotenv
from quart import Quart, Response, g, request
from quart_cors import cors
from quart_rate_limiter import RateLimiter

from handlers import archive, chat, health, ingest, metrics, pages, search
from handlers.failures import register_failures
from handlers.limits import make_limit_store
from handlers.metrics import show
from handlers.middleware import Middleware
from lib.logs import configure_logging, exchange
from lib.metrics import Metrics
from lib.services import open_services, warm_up
from lib.settings import Settings, SettingsError, complaints, load_settings, setting_names

log = logging.getLogger("quire")

MAX_BODY_BYTES = 256 * 1024
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


def create_app(
    settings: Settings | None = None, *, when_warm: Callable[[], None] | None = None
) -> Quart:
    """The application. Without `settings` they are read from the environment and `.env`.

    `when_warm` is called once everything that the first reader would wait for is loaded.
    """
    settings = settings or read_settings()
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.request_class = archive.request_class(settings)

    for module in (chat, search, ingest, archive, health, metrics, pages):
        app.register_blueprint(module.blueprint)
    register_failures(app)
    counted = Metrics()
    middleware = Middleware(
        app.asgi_app,
        settings,
        counted,
        body_limit=lambda path: (
            settings.max_archive_bytes if path == archive.PATH else MAX_BODY_BYTES
        ),
        slow_paths=("/chat", archive.PATH),
        exposed_headers=EXPOSED_HEADERS,
    )
    app.asgi_app = middleware  # type: ignore[method-assign]  # Quart's documented hook
    app.extensions["middleware"] = middleware

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        async with open_services(settings, counted) as services:
            app.extensions["services"] = services
            show(services, middleware)
            tasks = [
                asyncio.create_task(warm_up(services, when_warm)),
                asyncio.create_task(services.loop_monitor.run(middleware.check)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    @app.before_request
    async def name_route() -> None:
        if (note := exchange.get()) and request.url_rule:
            note.route = request.url_rule.rule

    @app.after_request
    async def name_reader(response: Response) -> Response:
        # Whoever has a key is known by its name; an address was named before.
        held = str(g.get("reader", ""))
        if (note := exchange.get()) and held.startswith(("key:", "admin")):
            note.reader = held
        return response

    RateLimiter(app, store=make_limit_store(settings), enabled=settings.rate_limit_enabled)

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
    from lib.cli import parse_arguments, run_ask, run_eval, run_ingest

    command = parse_arguments(arguments)
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"Quire cannot start: {error}", file=sys.stderr)
        return 2
    configure_logging(settings)
    for complaint in complaints(os.environ, setting_names()):
        log.warning("%s", complaint)
    match command.command:
        case "ingest":
            return asyncio.run(run_ingest(settings, command))
        case "ask":
            return asyncio.run(run_ask(settings, command.question))
        case "eval":
            return asyncio.run(run_eval(settings, command))
    return serve_book(settings)


def serve_book(settings: Settings) -> int:
    """Serve in this one process until it is told to stop."""
    from handlers.serving import serve
    from lib.runtime import freeze_heap

    try:
        serve(settings, create_app(settings, when_warm=freeze_heap))
    except OSError as error:
        reason = error.strerror or "the system refuses"
        print(
            f"Quire cannot listen on {settings.api_host}:{settings.api_port}: {reason}. "
            "See API_HOST and API_PORT.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
