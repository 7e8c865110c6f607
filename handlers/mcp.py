"""POST /mcp: the Model Context Protocol (https://modelcontextprotocol.io), for agents."""

from quart import Blueprint

blueprint = Blueprint("mcp", __name__)
