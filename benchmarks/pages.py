"""Writes the tables of results into README and the pages of docs/."""

from pathlib import Path

from benchmarks import rendering, tables
from ede_keras.utils.files import atomic_path

# The page that holds the table of means; the page below holds every other part.
README = "README.md"
RESULTS_PAGE = "docs/pages/results.md"


def render_all(folder=tables.RESULTS):
    """Renders every part that is made of results.

    Returns:
        `{page: {name: Markdown}}`, pages as paths from the root of the project.
    """
    lines = tables.read_results(folder)
    audits = [
        line
        for path in sorted(Path(folder, "audit").glob("*.jsonl"))
        for line in tables.read_lines(path)
    ]
    shown = {f"table {table}": rendering.render_table(lines, table) for table in tables.TABLES}
    held_out = tables.read_lines(Path(folder, "held_out/held_out.jsonl"))
    shown["held out"] = rendering.render_held_out(held_out)
    shown["parts"] = rendering.render_parts(tables.read_lines(Path(folder, "parts/parts.jsonl")))
    return {
        README: {"means": rendering.render_means(lines)},
        RESULTS_PAGE: {**shown, "audit": rendering.render_audit(audits)},
    }


def split_at_marks(text, name):
    """Splits a page into what stands before, between and after the marks of a part."""
    before, rest = text.split(f"<!-- {name} -->\n")
    between, after = rest.split(f"<!-- end of {name} -->")
    return before, between, after


def write_parts(page, parts):
    """Replaces the text between the marks of each part, `{name: Markdown}`, in a page."""
    text = page.read_text()
    for name, part in parts.items():
        before, _, after = split_at_marks(text, name)
        text = f"{before}<!-- {name} -->\n{part}\n<!-- end of {name} -->{after}"
    with atomic_path(page) as path:
        path.write_text(text)


def write_report(folder=tables.RESULTS, root=tables.ROOT):
    """Writes the table of means into README, and all other parts into their page."""
    for page, parts in render_all(folder).items():
        write_parts(Path(root, page), parts)
