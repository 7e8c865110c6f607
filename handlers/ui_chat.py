"""POST /ui/chat: the UI message stream of the Vercel AI SDK."""

from quart import Blueprint

blueprint = Blueprint("ui_chat", __name__)
