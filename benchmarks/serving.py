"""How fast an export answers, and how nearly it scores as the model does, runtime by runtime.

  python -m benchmarks.serving --run_dir=runs/fmnist/2/0
  python -m benchmarks.serving --run_dir=runs/parts/good/0 --rounds=20 \
    --results=benchmarks/results/serving-features.md

Exports the run with all formats that are installed (pip install '.[serving-test]'), then asks every
runtime for the scores of the same images: `model.predict`, a session as TF Serving runs it, the
gRPC stand-in of the tests in a process of its own, and the other makers' runtimes. They take turns,
so that a slow moment of the machine is slow for all of them. A turn is several requests, the first
of which does not count: threads of the runtime before may still be spinning. Prints a Markdown
table and keeps it.
"""

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import machine, tables
from ede_keras.cli.runs import load_run
from ede_keras.serving import edge_formats
from ede_keras.serving.client import ScoringClient
from ede_keras.serving.savedmodel import export_savedmodel
from ede_keras.serving.savedmodel_check import build_requests, error_scale, open_session
from ede_keras.serving.server_files import BATCH_SIZES
from ede_keras.utils.files import atomic_path

flags.DEFINE_string("run_dir", None, "A finished run, as train.py wrote it.", required=True)
flags.DEFINE_integer("rounds", 100, "Requests of each size to each runtime.", lower_bound=2)
flags.DEFINE_string("results", str(tables.RESULTS / "serving.md"), "The table goes here.")

FLAGS = flags.FLAGS
TURN = 10  # requests
STANDIN = Path(__file__).parents[1] / "tests/serving/standin.py"


def open_standin(folder, resources):
    server = subprocess.Popen(
        [sys.executable, STANDIN, folder, "ede"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    resources.callback(server.communicate)
    port = server.stdout.readline().split()[0].decode()
    client = resources.enter_context(ScoringClient(f"localhost:{port}"))
    return lambda images: client.score(images)["score"]


def open_openvino(folder, resources):
    import openvino

    # On CPUs with bfloat16 instructions OpenVINO would compute in bfloat16.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.Core().read_model(folder), "CPU", precision)
    return lambda images: compiled(images)[compiled.output("score")]


def open_runtimes(model, folder, formats, resources):
    """A function from images to scores of every runtime that is installed, by name."""
    in_session = resources.enter_context(open_session(folder))["serving_default"]
    found = {
        "`model.predict`": lambda images: model.predict(images, len(images), verbose=0)["score"],
        "session": lambda images: in_session(images=images)["score"],
    }
    if importlib.util.find_spec("tensorflow_serving"):
        found["gRPC stand-in"] = open_standin(folder, resources)
    if importlib.util.find_spec("openvino"):
        found["OpenVINO"] = open_openvino(folder, resources)
    for name in formats:
        load = edge_formats.FORMATS[name].load(folder / edge_formats.FORMATS[name].file_name)
        found[name] = lambda images, load=load: load(images=images)["score"]
    return found


def measure(runtimes, images, rounds):
    """Seconds of every request: `{name: list of rounds}`, asked in turn."""
    seconds = {name: [] for name in runtimes}
    for score in runtimes.values():
        score(images)  # compiles and allocates
    for start in range(0, rounds, TURN):
        for name, score in runtimes.items():
            for i in range(-1, min(TURN, rounds - start)):
                began = time.perf_counter()
                score(images)
                if i >= 0:
                    seconds[name].append(time.perf_counter() - began)
    return seconds


def make_table(runtimes, noise, wanted, rounds):
    heads = [f"batch {n}: p50 / p99, ms" for n in BATCH_SIZES]
    rows = [["runtime", *heads, f"images/s at {BATCH_SIZES[-1]}", "largest difference"]]
    rows.append(["---"] * len(rows[0]))
    seconds = {n: measure(runtimes, noise[:n], rounds) for n in BATCH_SIZES}
    for name, score in runtimes.items():
        quantiles = [1000 * np.quantile(seconds[n][name], [0.5, 0.99]) for n in BATCH_SIZES]
        per_second = BATCH_SIZES[-1] / np.median(seconds[BATCH_SIZES[-1]][name])
        difference = (np.abs(score(noise) - wanted) / error_scale(wanted)).max()
        cells = [f"{p50:.1f} / {p99:.1f}" for p50, p99 in quantiles]
        rows.append([name, *cells, f"{per_second:.0f}", f"{difference:.1e}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv):
    del argv
    config, _, model = load_run(Path(FLAGS.run_dir).expanduser())
    formats = [name for name in edge_formats.FORMATS if not edge_formats.missing_modules(name)]
    noise = build_requests(model.image_shape, BATCH_SIZES[-1])["serving_default"]["images"]
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as resources:
        folder = export_savedmodel(model, scratch, formats=formats)
        edge_files = {edge_formats.FORMATS[name].file_name for name in formats}
        sizes = (
            path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.name not in edge_files
        )
        megabytes = sum(sizes) / 1e6
        runtimes = open_runtimes(model, folder, formats, resources)
        wanted = model.predict(noise, verbose=0)["score"]
        table = make_table(runtimes, noise, wanted, FLAGS.rounds)
    text = (
        f"Recipe {config['recipe']}, variant {config['variant']}, trained on {config['dataset']}, "
        f"images {' x '.join(map(str, model.image_shape))}; SavedModel of {megabytes:.0f} MB; "
        f"{machine.describe()['processor']}, {machine.usable_cpus()} cores; "
        f"{FLAGS.rounds} requests of each size. The difference in score is relative to |score| + "
        f"standard deviation of the scores.\n\n{table}\n"
    )
    print(text)
    with atomic_path(FLAGS.results) as aside:
        aside.write_text(text)


if __name__ == "__main__":
    app.run(main)
