"""Quire's application. `python main.py --help` shows the commands; see `lib/cli.py`."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence

from dotenv import load_dotenv
from quart import Quart, Response, g, request
from quart_cors import cors

from handlers import (
    admin,
    admin_gaps,
    admin_questions,
    archive,
    ask,
    book,
    chat,
    completions,
    feedback,
    health,
    ingest,
    llms,
    mcp,
    metrics,
    pages,
    search,
    ui_chat,
    widget,
    widget_config,
)
from handlers.completions_answer import OPENAI_ERRORS
from handlers.failures import ErrorFormats, register_failures
from handlers.limits import limit_rates
from handlers.mcp_messages import MCP_ERRORS
from handlers.middleware import EXPOSED_HEADERS, Middleware
from handlers.origins import check_origin
from handlers.ui_chat_answer import UI_ERRORS
from lib.logs import current_request
from lib.metrics import Metrics
from lib.origins import Origins
from lib.services import open_services, warm_up
from lib.settings import Settings, load_settings

MAX_BODY_BYTES = 256 * 1024


def create_app(
    settings: Settings | None = None, *, when_loaded: Callable[[], None] | None = None
) -> Quart:
    """Create the application. Default settings: the environment and `.env`.

    `when_loaded` is called once the models are loaded.
    """
    settings = settings or read_settings()
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.request_class = archive.request_class(settings)

    for module in (
        chat,
        completions,
        ui_chat,
        ask,
        mcp,
        search,
        feedback,
        ingest,
        archive,
        health,
        metrics,
        admin,
        admin_gaps,
        admin_questions,
        pages,
        book,
        llms,
        widget,
        widget_config,
    ):
        app.register_blueprint(module.blueprint)
    error_formats = ErrorFormats(
        {"/v1/": OPENAI_ERRORS, "/ui/chat": UI_ERRORS, "/ask": ask.ERRORS, "/mcp": MCP_ERRORS}
    )
    register_failures(app, error_formats)
    origins = Origins(settings.origins, follows_site=settings.allowed_origins is None)
    app.extensions["origins"] = origins
    app.config["QUART_CORS_ALLOW_ORIGIN"] = origins  # quart-cors reads it on each request
    registry = Metrics()
    middleware = Middleware(
        app.asgi_app,
        settings,
        registry,
        origins=origins,
        body_limit=lambda path: (
            settings.max_archive_bytes if path == archive.PATH else MAX_BODY_BYTES
        ),
        slow_paths=(
            "/chat",
            "/v1/chat/completions",
            "/ui/chat",
            "/ask",
            "/mcp",
            archive.PATH,
            admin_questions.EXPORT,
        ),
        error_formats=error_formats,
    )
    app.asgi_app = middleware  # type: ignore[method-assign]  # Quart's documented hook
    app.extensions["middleware"] = middleware

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        async with open_services(settings, registry) as services:
            app.extensions["services"] = services
            metrics.register_gauges(services, middleware)
            tasks = [
                asyncio.create_task(warm_up(services, when_loaded)),
                asyncio.create_task(services.loop_monitor.run(middleware.check)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    app.before_request(check_origin)  # before the limits, which may refuse a request

    @app.before_request
    async def log_route() -> None:
        if (note := current_request.get()) and request.url_rule:
            note.route = request.url_rule.rule

    @app.after_request
    async def log_reader(response: Response) -> Response:
        # The middleware has already noted an address; the name of a key replaces it.
        reader = str(g.get("reader", ""))
        if (note := current_request.get()) and reader.startswith(("key:", "admin")):
            note.reader = reader
        return response

    limit_rates(app, settings)

    with_cors: Quart = cors(
        app,
        allow_credentials=True,  # existing widgets ask for it; no cookie is ever set or read
        allow_headers=("*",),  # those that a preflight of an allowed origin names
        allow_methods=("GET", "HEAD", "POST", "OPTIONS"),
        expose_headers=EXPOSED_HEADERS,
        max_age=86_400,
    )
    return with_cors


def read_settings() -> Settings:
    """Read the environment, then `.env` for variables that it lacks. Raises `SettingsError`."""
    load_dotenv(override=False)
    return load_settings(os.environ)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    from lib.cli import run

    load_dotenv(override=False)
    return run(arguments, os.environ, _serve)


def _serve(settings: Settings) -> None:
    from handlers.serving import serve
    from lib.runtime import freeze_heap

    serve(settings, create_app(settings, when_loaded=freeze_heap))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
