"""GET /ask: an answer as Markdown, for shells and agents."""

from quart import Blueprint

blueprint = Blueprint("ask", __name__)
