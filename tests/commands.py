"""What the tests of the commands share."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = (
    "--recipe=default",
    "--epochs=2",
    "--min_steps=5",
    "--base_width=2",
    "--latent_dim=4",
)
# Where any model will do: TensorFlow traces this one four times as fast as the default recipe's.
LIGHT = ("--variant=autoencoder", "--pretext=none")


def slow(*values):
    """A case that adds little to its neighbours: for `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def flags_of(output_dir, *more):
    """Flags of a short training on digits."""
    return ("--dataset=digits", "--normal=2", f"--output_dir={output_dir}", *SMALL, *more)


def blocks(text, language):
    """The code blocks of a Markdown text in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def arguments_of(command, folder):
    """The arguments of a documented command, with its own paths below a folder; a training is
    shortened to an epoch of small networks."""
    command = command.replace("path/to", f"{folder}/path/to").replace("=runs/", f"={folder}/runs/")
    arguments = command.split()[1:]
    if arguments[0] == "train.py":
        arguments += [*SMALL, "--epochs=1", f"--output_dir={folder / 'runs'}"]
    return arguments


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
