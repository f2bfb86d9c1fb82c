"""How fast: what `benchmarks.speed`, `serving`, `scaling` and `timeline` measure and draw."""

import json
import time

import pytest

from benchmarks import figures, operations, speed, tables
from ede_keras.layers import networks


@pytest.mark.slow
def test_the_speed_of_an_export(run_command, run_dir, tmp_path):
    results = tmp_path / "serving.md"
    run_command(
        "-m", "benchmarks.serving", f"--run_dir={run_dir}", "--rounds=3", f"--results={results}"
    )
    rows = [row.split(" | ") for row in results.read_text().splitlines() if row.startswith("|")]
    names = {row[0].strip("| ") for row in rows}
    assert {"runtime", "`model.predict`", "session", "gRPC stand-in"} <= names
    for row in rows[2:]:
        assert float(row[1].split(" / ")[0]) > 0
        assert float(row[-1].strip("| ")) < 1e-4


def test_operations_of_a_forward_pass():
    """Each of a kernel's weights multiplies and adds once at each position."""
    encoder = networks.build_encoder(32, 1, 100)
    inside = 16 * (1 * 32 * 16**2 + 32 * 64 * 8**2 + 64 * 128 * 4**2 + 128 * 100)
    assert operations.count([encoder]) == 2 * inside
    decoder = networks.build_decoder(32, 1, 100)
    assert operations.count([encoder, decoder]) == 4 * inside  # the encoder mirrored


def test_the_least_of_a_step():
    """Seven networks are passed in both phases, forwards and twice backwards."""
    encode = decode = 2 * 16 * (1 * 32 * 16**2 + 32 * 64 * 8**2 + 64 * 128 * 4**2 + 128 * 100)
    least = operations.count_least((32, 32, 1))
    assert least["train, paper"] == 3 * (4 * encode + 3 * decode)
    assert least["score, paper"] == 3 * encode + 2 * decode
    # Half the width, 64 latents; three more views up to the hidden map; 16 names of each.
    hidden = 2 * 16 * (1 * 16 * 16**2 + 16 * 32 * 8**2 + 32 * 64 * 4**2)
    encode = hidden + 2 * 16 * 64 * 64
    name = 2 * 16 * 64 * 16
    assert least["train, default"] == 3 * (7 * encode + 3 * hidden + 4 * name)
    compare = 2 * 2 * (64 * 64 + 4096 * 64)
    assert least["score, default"] == 5 * encode + 16 * (encode + name + compare)


CONTESTANTS = ("train, default", "bare step, paper", "score, paper", "calibrate, default")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CONTESTANTS, "multiply", "torch train, default, eager"])
def test_a_contestant_answers_each_turn(run_python, run_command, name):
    if name.startswith("torch"):
        pytest.importorskip("torch", reason="PyTorch is missing: pip install '.[bench]'")
    flags = (name, "--steps=2", "--batch_size=16")
    began = time.time()
    # A real start of one by TensorFlow; those of PyTorch do without it.
    start = run_command if name in CONTESTANTS[1:] else run_python
    done = start("-m", "benchmarks.contestants", *flags, input="\n\n")
    first, *turns = (json.loads(line) for line in done.stdout.splitlines())
    assert began < first["imported"] < first["first"] < time.time()
    assert len(turns) == 2 and all(turn["seconds"] > 0 for turn in turns)
    assert turns[-1]["peak_mib"] > 100


def test_the_table_of_speed():
    entry = {"seconds": [1, 1, 1], "imported": 2.0, "first": 5.0, "peak_mib": 9.0}
    record = {
        "machine": {"cores": 2},
        "batch_size": 10,
        "steps": 5,
        "rounds": 3,
        "least_operations": {
            "train, paper": 2 * 1024**3 / 20,
            "train, default": 1,
            "score, paper": 1,
            "score, default": 1,
        },
        "found": {
            "train": {
                "train, paper": entry,
                "bare step, paper": {**entry, "seconds": [0.9, 0.9, 0.9]},
                "torch train, paper, eager": {**entry, "seconds": [1.1, 1.25, 2]},
                "torch train, paper, compiled": {**entry, "seconds": [3, 3, 3]},
                "multiply": entry,
            }
        },
    }
    above, table = speed.render(record).split("\n\n")
    assert "cores 2" in above and "0.90 (0.90 – 0.90) times as fast as by bare" in above
    first, _, other, _ = table.splitlines()[2:]
    # 50 images in a second, where products of matrices would allow 100.
    spelled = "50 (50 – 50) | 0.50 | 1.25 (1.18 – 1.62) | 2.0 | 3.0 | 9"
    assert first == f"| train, paper | {spelled} |"
    assert other == "| torch train, paper, eager | 40 (32 – 43) | 0.40 |  | 2.0 | 3.0 | 9 |"


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("speed-*.json")))
def test_a_committed_table_of_speed_is_that_of_its_record(path):
    record = json.loads(path.read_text())
    assert record["machine"]["processor"].endswith(path.stem.removeprefix("speed-"))
    assert speed.render(record) == path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_a_point_of_scaling(run_command):
    flags = ('--point=["base_width", 8]', "--seconds=0.1", "--turns=1")
    done = run_command("-m", "benchmarks.scaling", *flags)
    point = json.loads(done.stdout.splitlines()[-1])
    assert point["score"] > point["train"] > 0 and point["peak_mib"] > 100
    found = {"base_width": {"8": point, "16": point}, "batch_size": {"1": point}}
    assert len(figures.draw_scaling(found).axes) == 4


@pytest.mark.slow
def test_a_timeline_of_a_batch(run_command, tmp_path):
    results = tmp_path / "timeline.json"
    run_command("benchmarks/timeline.py", f"--results={results}")
    record = json.loads(results.read_text())
    spent = sum(duration for name, _, duration in record["events"] if "Conv" in name)
    assert spent > 0.3 * record["elapsed"]
    assert all(0 <= start <= record["elapsed"] for _, start, _ in record["events"])
    axis = figures.draw_timelines({"now": record}).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["now"]
