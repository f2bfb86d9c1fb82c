"""What a change of the default recipe does, measured where recipes are chosen.

  python -m benchmarks.study --data_dir=...            # all changes, resumable
  python -m benchmarks.study --report                  # the table into docs/pages/recipes.md

The tasks are made of the training parts alone: half of one, split as `split80`, with seeds that the
tables do not use, for half the epochs. Lines go to `benchmarks/results/study/`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import machine, tables
from ede_keras.datasets import load_dataset
from ede_keras.files import atomic_path, read_json

CHANGES = {
    "the recipe": (),
    "no phase 2": ("--phase_floor=1",),
    "phase 2 weighs up to 0.5, not 0.2": ("--phase_floor=0.5",),
    "phase 2 moves EDE2's encoders too": ("--phase2_updates=ede2",),
    "phase 2 moves all encoders": ("--phase2_updates=all",),
    "z gets the gradient of its own term": ("--nofixed_latent_target",),
    "no pretext": ("--pretext=none",),
    "rotations alone": ("--pretext=rotations",),
    "one view of an image a step": ("--pretext_views=1",),
    "cosine decay": ("--cosine_decay",),
}
TASKS = (("mnist", 8), ("fmnist", 6))
SEEDS = (100, 101, 102)
EPOCHS = 4

flags.DEFINE_string("data_dir", None, "As for train.py.")
flags.DEFINE_multi_enum("change", list(CHANGES), list(CHANGES), "Changes; by default all.")
flags.DEFINE_multi_enum("dataset", [t[0] for t in TASKS], [t[0] for t in TASKS], "Data sets.")
flags.DEFINE_string("results", str(tables.RESULTS / "study/study.jsonl"), "Lines go here.")
flags.DEFINE_bool("report", False, "Writes the table into docs/pages/recipes.md instead.")

FLAGS = flags.FLAGS
PAGE = tables.ROOT / "docs/pages/recipes.md"


def make_task(dataset, folder):
    """Writes half of a training part to a file, the other half in place of the test part."""
    loaded = load_dataset(dataset, FLAGS.data_dir)
    x, y = loaded.x_train, loaded.y_train
    half = len(x) // 2
    path = Path(folder) / f"{dataset}.npz"
    np.savez(path, x_train=x[:half], y_train=y[:half], x_test=x[half:], y_test=y[half:])
    return path


def measure(task, normal, seed, change):
    """AUROC of a run of train.py."""
    with tempfile.TemporaryDirectory() as output_dir:
        command = [f"--dataset={task}", "--protocol=split80", f"--normal={normal}"]
        command += [f"--seed={seed}", f"--epochs={EPOCHS}", f"--output_dir={output_dir}"]
        subprocess.run(
            [sys.executable, "train.py", *command, *CHANGES[change]], cwd=tables.ROOT, check=True
        )
        (metrics,) = Path(output_dir).rglob("metrics.json")
        return read_json(metrics)["auroc"]


def render(lines):
    """The table in Markdown: mean over seeds and deviation, and how much above the recipe."""
    found = {}
    for line in lines:
        runs = found.setdefault((line["change"], line["dataset"], line["normal"]), {})
        runs[line["seed"]] = line["auroc"]
    heads = [f"{dataset} {normal} | against the recipe" for dataset, normal in TASKS]
    rows = [f"| {' | '.join(['change', *heads])} |", f"| --- |{' --- |' * 2 * len(TASKS)}"]
    for change in CHANGES:
        cells = [change]
        for task in TASKS:
            runs, recipe = found[change, *task], found["the recipe", *task]
            gains = [runs[seed] - recipe[seed] for seed in SEEDS]
            cells.append(f"{np.mean(list(runs.values())):.3f}".removeprefix("0"))
            cells.append(f"{np.mean(gains):+.3f} ± {np.std(gains):.3f}" if any(gains) else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(argv):
    del argv
    if FLAGS.report:
        before, _, after = tables.split_at_marks(PAGE.read_text(), "study")
        text = render(tables.read_lines(FLAGS.results))
        with atomic_path(PAGE) as path:
            path.write_text(f"{before}<!-- study -->\n{text}\n<!-- end of study -->{after}")
        return
    with tempfile.TemporaryDirectory() as folder:
        tasks = {dataset: make_task(dataset, folder) for dataset in FLAGS.dataset}
        for seed in SEEDS:
            for dataset, normal in TASKS:
                for change in FLAGS.change:
                    run = {"change": change, "dataset": dataset, "normal": normal, "seed": seed}
                    lines = tables.read_lines(FLAGS.results)
                    if dataset not in tasks or any(run.items() <= line.items() for line in lines):
                        continue
                    auroc = measure(tasks[dataset], normal, seed, change)
                    line = {**run, "flags": " ".join(CHANGES[change]), "epochs": EPOCHS}
                    line |= {"auroc": auroc, **machine.versions()}
                    tables.append_line(FLAGS.results, line)
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
