"""Variables by an older or another name, and misspelt ones."""

import difflib
from collections.abc import Collection, Mapping

RENAMED = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_MODEL_NAME": "OPENAI_MODEL",
    "QDRANT_COLLECTION_NAME": "QDRANT_COLLECTION",
}
"""Old name to new: a setting that is renamed gets its line here, and both work from then on."""
OTHERS = frozenset({"API_KEY"})
"""Names that are near to one of ours and belong to other programs."""
NEAR = 0.87
"""Share of letters in common (`difflib`): a slip of the finger, not another word."""


def find_variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The value of the setting `name` and the variable that has it; empty where none has.

    The new name wins over an old one.
    """
    for each in (name, *(old for old, new in RENAMED.items() if new == name)):
        if raw := environ.get(each, "").strip():
            return raw, each
    return "", name


def complaints(environ: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Sentences for the log about variables that are old, or look like misspelt `names`.

    No value is shown, since it may be a key.
    """
    found = []
    for old, new in RENAMED.items():
        if environ.get(old, "").strip():
            if environ.get(new, "").strip():
                found.append(f"{old} is not read, since {new}, its new name, is set as well.")
            else:
                found.append(f"{old} is now called {new}: rename it; the old name still works.")
    for name in environ.keys() - set(names) - RENAMED.keys() - OTHERS:
        family = name.partition("_")[0] + "_"
        relatives = [each for each in names if each.startswith(family)]
        found.extend(
            f"{name} is no setting and is not read: is {meant} meant?"
            for meant in difflib.get_close_matches(name, relatives, n=1, cutoff=NEAR)
        )
    return sorted(found)
