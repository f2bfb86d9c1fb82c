"""Writes the page of settings from the fields that define the arguments.

python docs/settings.py [FILE]
"""

import dataclasses
import sys
from pathlib import Path

from ede_keras.models.arguments import EDEArguments, TrainingArguments
from ede_keras.models.recipes import RECIPES
from ede_keras.utils.arguments import describe_default, kind_of

PAGE = Path(__file__).parent / "pages/settings.md"
TEXT = """\
# Settings

Every argument of the model and of its training, with its value in each recipe. A blank cell means
that the recipe uses the value of recipe `default`.

Every argument is a keyword argument of `fit_recipe`, and those of the model are also keyword
arguments of `EDE`. Every argument is also a flag of `ede-train` and `train.py`, such as
`--latent_dim=32`, `--mirror` or `--nomirror`. An argument that you leave out has the value of the
recipe.

`python docs/settings.py` writes this page from `models/arguments.py` and `models/recipes.py`. Run
it again after changing either file.

## The model

{model}

## Training

{training}
"""


def describe_values(field):
    """The values that an argument may have."""
    if field.metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in field.metadata["choices"])
    kinds = {int: "whole number", float: "number", bool: "true or false", str: "name or path"}
    kind = kinds[kind_of(field)]
    within = field.metadata["within"]
    if within is None:
        return kind
    text = f"{kind}, {within}"
    return text.removesuffix(", finite") if kind == "whole number" else text


def describe_recipe(field, name):
    """An argument's value in a recipe; blank where it is recipe default's."""
    value = RECIPES[name].get(field.name)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def render(arguments):
    """A table of arguments in Markdown."""
    others = [name for name in RECIPES if name != "default"]
    heads = ["argument", "values", "recipe default", *others, "meaning"]
    rows = [heads, ["---"] * len(heads)]
    for field in dataclasses.fields(arguments):
        recipes = [describe_recipe(field, name) for name in others]
        meaning = field.metadata["meaning"]
        rows.append(
            [f"`{field.name}`", describe_values(field), describe_default(field), *recipes, meaning]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    page.write_text(
        TEXT.format(model=render(EDEArguments), training=render(TrainingArguments)),
        encoding="utf-8",
    )
