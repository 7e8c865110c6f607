"""GET /llms.txt and GET /llms-full.txt: the book for language models (https://llmstxt.org)."""

from quart import Blueprint

blueprint = Blueprint("llms", __name__)
