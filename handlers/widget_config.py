"""GET /widget/config.json"""

from quart import Blueprint, Response, request

from handlers import operation, respond, services
from lib.api import Operation
from lib.widget import WidgetConfig, describe_book

blueprint = Blueprint("widget_config", __name__)


@blueprint.get("/widget/config.json")
@operation(
    Operation(
        "What the widget shows of the book before the first question. Also without an index.",
        answer=WidgetConfig,
        has_etag=True,
    )
)
async def widget_config() -> Response:
    opened = services()
    answer = respond(
        await describe_book(opened.settings, opened.store, opened.contents, opened.starters)
    )
    # Browsers keep the answer, and ask each time whether it is still the same.
    answer.cache_control.no_cache = True
    await answer.add_etag()
    return await answer.make_conditional(request)
