"""POST /v1/chat/completions and GET /v1/models: OpenAI's API, for its many clients."""

from quart import Blueprint

blueprint = Blueprint("completions", __name__)
