"""Print the README.md of a Hugging Face Space: its configuration, as YAML front matter.

    python3 scripts/make_space_readme.py --title "Ask my book" > space/README.md

Uses only the standard library, so that a workflow can run it without installing anything.
"""

import argparse
import json
from collections.abc import Sequence

PORT = 7860
"""The default of API_PORT. A Space passes requests to this port only."""


def space_readme(title: str, port: int = PORT) -> str:
    """Return the README of a Space that builds the Dockerfile beside it."""
    front_matter = {
        "title": title,
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "docker",
        "app_port": port,
        "license": "mit",
        "short_description": "Ask a book; every claim links to its heading",
    }
    # JSON strings are valid YAML, so a title may contain any characters.
    lines = [f"{name}: {json.dumps(value)}" for name, value in front_matter.items()]
    return "\n".join(["---", *lines, "---", "", "Answers questions about a book with Quire.", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print the README.md of a Hugging Face Space.")
    parser.add_argument("--title", default="Quire", help="the name that visitors see")
    parser.add_argument("--port", type=int, default=PORT, help="API_PORT, if you set it")
    options = parser.parse_args(arguments)
    print(space_readme(options.title, options.port), end="")


if __name__ == "__main__":
    main()
