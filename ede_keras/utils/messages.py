"""Shortens messages of TensorFlow."""

import re

# Parts that name a node of a graph or an address in memory.
_PLACES = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*| at 0x[0-9a-f]+")


def find_last_line(message: str) -> str:
    """The last line that is not empty; the lines before it are the history of the graph."""
    lines = [line.strip() for line in _PLACES.sub("", message).splitlines()]
    return next((line for line in reversed(lines) if line), "")
