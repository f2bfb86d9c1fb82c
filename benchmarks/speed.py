"""How fast training and scoring are, beside PyTorch and beside what the machine could do.

  python -m benchmarks.speed

Contestants take turns, so that a slow moment of the machine is slow for all of them: those that
train, then those that score. PyTorch's are left out where it is missing (pip install '.[bench]').
Writes `benchmarks/results/speed-avx512.json` and, made of it, `speed-avx512.md`; on a processor
with AVX2 alone, `speed-avx2`. One kind says little about the other.
"""

import importlib.util
import json
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

from benchmarks import machine, operations, tables
from benchmarks.contestants import GROUPS, MATRIX, SCORED_AT_ONCE, SHAPE
from ede_keras.utils.files import atomic_path, write_json

flags.DEFINE_integer("rounds", 9, "Rounds of each contestant.", lower_bound=2)
flags.DEFINE_string(
    "results",
    None,
    "Stem of the files to write; by default speed-avx512 or speed-avx2 among the results.",
)

FLAGS = flags.FLAGS
COLUMNS = (
    "",
    "images/s",
    "of the limit",
    "times PyTorch's best",
    "import, s",
    "first batch after, s",
    "peak, MiB",
)


class Contestant:
    """A process that has done its first turn."""

    def __init__(self, name):
        own = [f"--{flag}={FLAGS[flag].value}" for flag in ("batch_size", "steps")]
        began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants", name, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.name = name
        self.seconds = []
        answer = self._answer()
        self.until = {what: answer[what] - began for what in ("imported", "first")}

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f'{self.name} has ended; python -m benchmarks.contestants "{self.name}" says why'
            )
        return json.loads(line)

    def take_turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.peak_mib = answer["peak_mib"]


def measure(names):
    """What each contestant did, by name, a dict to be kept."""
    contestants = [Contestant(name) for name in names]
    for _ in range(FLAGS.rounds):
        for contestant in contestants:
            contestant.take_turn()
    for contestant in contestants:
        contestant.process.communicate()
    return {c.name: {"seconds": c.seconds, "peak_mib": c.peak_mib, **c.until} for c in contestants}


def quartiles(values, digits):
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.{digits}f} ({low:.{digits}f} – {high:.{digits}f})"


def compare(found, name, other):
    """How many times as fast as another: median and quartiles over the rounds."""
    return quartiles(np.divide(found[other]["seconds"], found[name]["seconds"]), 2)


def share_of_limit(record, work, name):
    """How near a contestant's median is to what the machine could do.

    Returns None if its operations are not counted.
    """
    parts = name.split(", ")
    least = record["least_operations"].get(f"{parts[0].removeprefix('torch ')}, {parts[1]}")
    if least is None:
        return None
    entries = record["found"][work]
    n = record["batch_size"] * record["steps"]
    seconds, products = (np.median(entries[key]["seconds"]) for key in (name, "multiply"))
    return n * least / seconds / (record["steps"] * 2 * MATRIX**3 / products)


def make_rows(record, work):
    """A row of the table for each contestant of a group."""
    found = record["found"][work]
    n = record["batch_size"] * record["steps"]
    for name, entry in found.items():
        if name == "multiply":
            continue
        share = share_of_limit(record, work, name)
        rivals = [rival for rival in found if rival.startswith(f"torch {name},")]
        best = min(rivals, key=lambda r: np.median(found[r]["seconds"]), default=None)
        yield (
            name,
            quartiles(n / np.array(entry["seconds"]), 0),
            "" if share is None else f"{share:.2f}",
            compare(found, name, best) if best else "",
            f"{entry['imported']:.1f}",
            f"{entry['first'] - entry['imported']:.1f}",
            f"{entry['peak_mib']:.0f}",
        )


def render(record):
    """The record in Markdown."""
    least = {name: f"{n / 1e6:.0f}" for name, n in record["least_operations"].items()}
    train = record["found"]["train"]
    rate = record["steps"] * 2 * MATRIX**3 / np.median(train["multiply"]["seconds"])
    rows = [COLUMNS, ["---"] * len(COLUMNS)]
    rows += [row for work in record["found"] for row in make_rows(record, work)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"Images {' x '.join(map(str, SHAPE))}, {record['steps']} batches of "
        f"{record['batch_size']} per round (scored {SCORED_AT_ONCE} at once), {record['rounds']} "
        f"rounds; {', '.join(f'{k} {v}' for k, v in record['machine'].items())}; matrices are "
        f"multiplied at {rate / 1e9:.0f} GFLOP/s. The limit is what that allows: "
        f"{least['train, paper']} MFLOP to train on an image by the paper's recipe, "
        f"{least['train, default']} by the default one; {least['score, paper']} and "
        f"{least['score, default']} to score it. By `fit` training is "
        f"{compare(train, 'train, paper', 'bare step, paper')} times as fast as by bare steps. In "
        f"brackets: quartiles of the rounds.\n\n{table}\n"
    )


def main(argv):
    del argv
    has_torch = importlib.util.find_spec("torch")
    found = {
        work: measure([name for name in group if has_torch or not name.startswith("torch")])
        for work, group in GROUPS.items()
    }
    record = {
        "machine": machine.describe(),
        **{flag: FLAGS[flag].value for flag in ("batch_size", "steps", "rounds")},
        "least_operations": operations.count_least(SHAPE),
        "found": found,
    }
    stem = FLAGS.results or tables.RESULTS / f"speed-{machine.vectors()}"
    write_json(f"{stem}.json", record)
    with atomic_path(f"{stem}.md") as aside:
        aside.write_text(render(record))
    print(render(record))


if __name__ == "__main__":
    app.run(main)
