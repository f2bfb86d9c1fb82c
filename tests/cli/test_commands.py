"""The commands as their users run them: by subprocess, on the embedded digits."""

import json
import os
import shutil

import numpy as np
import pytest
from commands import LIGHT, ROOT, SMALL, flags_of, read_rows, slow
from makers import write_folder
from PIL import Image
from sklearn.metrics import roc_auc_score

from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split

METRICS = {
    "auroc",
    "average_precision",
    "f1",
    "n_test",
    "n_anomalous",
    "threshold",
    "train_seconds",
    "n_train",
    "n_val",
    "images_per_second",
    "omega1",
    "contamination",
    "terms",
    "pixel_threshold",
    "false_alarms",
    "equation8_auroc",
}

TERMS = ["x_x2p", "z_z2p", "nearest_image", "map_peak"]
TERMS += ["pretext", "latent_distance", "feature_distance"]


def test_what_a_run_leaves(run_dir):
    names = set(os.listdir(run_dir)) - {"logs"}
    assert names == {
        "config.json",
        "metrics.json",
        "scores.csv",
        "calibration.csv",
        "data.json",
        "model.keras",
        "checkpoints",
    }
    config = json.loads((run_dir / "config.json").read_text())
    expected = {
        "dataset": "digits",
        "protocol": "split80",
        "normal": 2,
        "normal_name": "2",
        "seed": 0,
        "recipe": "default",
        "variant": "full",
        "latent_dim": 4,
        "base_width": 2,
        "epochs": 3,
        "image_size": 16,
        "image_shape": [8, 8, 1],
        "memory_size": 4 * 113,  # all that there are to remember, also in other light
        "contamination": 0.05,
    }
    assert {key: config[key] for key in expected} == expected
    assert not any(isinstance(value, dict) for value in config.values())
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert set(metrics) == METRICS | {"patches_found"}  # of training alone
    assert (metrics["n_train"], metrics["n_val"], metrics["n_test"]) == (113, 28, 72)
    history = read_rows(run_dir / "checkpoints" / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert metrics["train_seconds"] == pytest.approx(sum(float(r["seconds"]) for r in history))


def test_metrics_follow_from_the_scores(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    rows = read_rows(run_dir / "scores.csv")
    assert list(rows[0]) == ["index", "true_label", "score", "label"]
    truth, label = (np.array([int(row[name]) for row in rows]) for name in ("true_label", "label"))
    score = np.array([float(row["score"]) for row in rows])
    assert metrics["auroc"] == roc_auc_score(truth, score)
    assert (label == (score > metrics["threshold"])).all()
    assert truth.mean() == 0.5
    terms = metrics["terms"]
    assert list(terms) == TERMS
    # The shares of all terms together are the mean score of the images labelled anomalous.
    total = sum(term["share"] for term in terms.values())
    assert total == pytest.approx(score[label == 1].mean(), rel=1e-4)
    assert 0 <= metrics["equation8_auroc"] <= 1


def test_scores_are_of_the_images_that_the_index_names(run_dir):
    from sklearn.datasets import load_digits

    target = load_digits().target
    for row in read_rows(run_dir / "scores.csv"):
        assert (target[int(row["index"])] != 2) == int(row["true_label"])


def test_what_a_user_sees(run_dir):
    shown = (run_dir.parents[2] / "stdout.txt").read_text()
    for text in ("ede1_loss", "ede2_loss", "AUROC", "average precision", "F1", "images/s"):
        assert text in shown
    assert str(run_dir) in shown


def test_evaluate_repeats_the_run_to_the_last_digit(run_dir, run_command, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    run_command("evaluate.py", f"--run_dir={run}")
    metrics, evaluation = (
        json.loads((run / f"{name}.json").read_text()) for name in ("metrics", "evaluation")
    )
    assert (run / "metrics.json").read_bytes() == (run_dir / "metrics.json").read_bytes()
    assert set(evaluation) == METRICS
    for name in METRICS - {"images_per_second"}:
        assert evaluation[name] == metrics[name]
    assert (run / "evaluation.csv").read_bytes() == (run_dir / "scores.csv").read_bytes()


def test_another_decision_without_training(run_dir, run_command, tmp_path):
    """The terms of `calibration.csv` on the scale that they give themselves."""
    rows = read_rows(run_dir / "calibration.csv")
    terms = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    assert list(terms) == TERMS
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}")
    run_command("evaluate.py", *flags, "--omega1=0.2", "--contamination=0.5")
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    trust = min(max(2 - 2 * terms["pretext"].mean() / np.log(16), 1e-3), 1)
    peak = terms.pop("map_peak")
    scaled = {name: (values - values.mean()) / values.std() for name, values in terms.items()}
    middle = np.median(peak)
    peak = (peak - middle) / (1.4826 * np.median(np.abs(peak - middle))) - 4
    weights = (0.05, 0.2, 2, 3 * trust, 1, 1)
    others = sum(w * values for w, values in zip(weights, scaled.values(), strict=True))
    scores = np.sort(np.maximum(others, others.std() * peak))[::-1]
    assert evaluation["threshold"] == pytest.approx(scores[14], rel=1e-3, abs=1e-4)
    before, after = (
        read_rows(path) for path in (run_dir / "scores.csv", tmp_path / "evaluation.csv")
    )
    assert [row["score"] for row in before] != [row["score"] for row in after]


def test_evaluate_scores_any_folder(run_dir, run_command, tmp_path):
    write_folder(tmp_path / "some", "plain", n=5, size=12)
    run_command(
        "evaluate.py",
        f"--run_dir={run_dir}",
        f"--dataset={tmp_path / 'some'}",
        f"--output_dir={tmp_path}",
    )
    rows = read_rows(tmp_path / "evaluation-some.csv")
    assert len(rows) >= 5 and {row["true_label"] for row in rows} == {""}
    assert all((tmp_path / "some" / row["path"]).is_file() for row in rows)
    evaluation = json.loads((tmp_path / "evaluation-some.json").read_text())
    assert set(evaluation) == METRICS
    assert evaluation["auroc"] is evaluation["n_anomalous"] is None


def test_white_of_16_bits_is_that_of_the_export(run_dir, run_command, tmp_path):
    """Also if the run has seen none: a score does not depend on the other files."""
    pixels = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    for name, scale in (("a", 1), ("b", 16)):
        (tmp_path / "both").mkdir(exist_ok=True)
        Image.fromarray(pixels * np.uint16(scale)).save(tmp_path / f"both/{name}.png")
    Image.fromarray(pixels).save(tmp_path / "one.png")
    scores = []
    for name in ("both", "one.png"):
        flags = (f"--run_dir={run_dir}", f"--dataset={tmp_path / name}", f"--output_dir={tmp_path}")
        done = run_command("evaluate.py", *flags)
        assert "the run has no files of 16 bits, so 65535 is white, as in its export" in done.stdout
        rows = read_rows(tmp_path / f"evaluation-{name.removesuffix('.png')}.csv")
        scores.append(rows[0]["score"])
    assert float(scores[0]) == pytest.approx(float(scores[1]), rel=1e-5)
    assert "6% of white" in done.stdout


def test_evaluate_scores_arrays_without_labels(run_dir, run_command, tmp_path):
    np.savez(tmp_path / "some.npz", x_test=np.zeros((3, 8, 8), "uint8"))
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}")
    done = run_command("evaluate.py", *flags, f"--dataset={tmp_path / 'some.npz'}")
    assert "some does not say which of its images are normal" in done.stdout
    assert [row["true_label"] for row in read_rows(tmp_path / "evaluation-some.csv")] == [""] * 3
    assert json.loads((tmp_path / "evaluation-some.json").read_text())["auroc"] is None


@pytest.mark.parametrize("protocol_layout", [slow("mvtec"), slow("plain")])
def test_train_on_a_folder(run_command, tmp_path, protocol_layout):
    folder = write_folder(tmp_path / "parts", protocol_layout, n=12, size=20)
    damaged = next(path for path in sorted(folder.rglob("011.png")) if "truth" not in str(path))
    damaged.write_bytes(b"no image")
    flags = (f"--dataset={tmp_path / 'parts'}", f"--output_dir={tmp_path / 'runs'}", *SMALL)
    done = run_command("train.py", *flags, *(LIGHT if protocol_layout == "plain" else ()))
    run = tmp_path / "runs" / "parts" / "good" / "0"
    assert "Left out of" in done.stderr and "files used from" in done.stdout
    lost = {
        "path": damaged.relative_to(folder).as_posix(),
        "reason": "not an image, judging by its content",
    }
    assert read_rows(run / "left_out.csv") == [lost]
    data = json.loads((run / "data.json").read_text())
    assert data["seen"] == data["used"] + 1 == sum(map(len, data["classes"].values())) * 12
    config = json.loads((run / "config.json").read_text())
    assert config["normal"] == "good" and config["image_shape"][:2] == [32, 32]
    metrics = json.loads((run / "metrics.json").read_text())
    assert read_rows(run / "scores.csv")[0]["path"].endswith(".png")
    if protocol_layout == "plain":  # no anomalies: no error
        assert metrics["auroc"] is metrics["average_precision"] is metrics["f1"] is None
        assert "no anomalies known" in done.stdout
    else:
        assert 0 <= metrics["auroc"] <= 1 and 0 <= metrics["pixel_aupro"] <= 1
        assert "pixel AUROC" in done.stdout
    run_command("evaluate.py", f"--run_dir={run}", "--report")
    again = json.loads((run / "evaluation.json").read_text())
    for name in {"auroc", "pixel_auroc", "pixel_aupro"} & set(metrics):
        assert again[name] == metrics[name]
    assert "pixel AUPRO" in (run / "evaluation.html").read_text() or protocol_layout == "plain"


@pytest.mark.parametrize("variant", [slow("autoencoder"), "single_ede", slow("twin_ede")])
def test_variants_and_the_paper_recipe(run_command, tmp_path, variant):
    run_command("train.py", *flags_of(tmp_path, f"--variant={variant}", "--recipe=paper"))
    config = json.loads((tmp_path / "digits/2/0/config.json").read_text())
    assert config["variant"] == variant and config["image_size"] == 32


def test_import_is_light(run_python):
    """Keras takes in matplotlib by itself where it is installed; we add nothing of the kind."""
    code = (
        "import sys, keras, tensorflow; before = set(sys.modules); import ede_keras; "
        "print({'keras_cv', 'matplotlib', 'PIL', 'pandas'} & (set(sys.modules) - before)); "
        "import ede_keras.data.protocols; "
        "print({'keras_cv', 'matplotlib', 'ede_keras'} & (set(sys.modules) - before))"
    )
    assert run_python("-c", code).stdout.splitlines() == ["set()", "{'ede_keras'}"]


@pytest.mark.slow
def test_paths_hold_from_any_folder(run_command, tmp_path):
    """A folder named without a slash, and a home: the run is evaluated from elsewhere."""
    write_folder(tmp_path / "parts", "plain", n=12, size=16)
    home = {"HOME": str(tmp_path)}
    flags = ("--dataset=parts", "--output_dir=~/runs", *SMALL, "--epochs=1", *LIGHT)
    run_command(ROOT / "train.py", *flags, cwd=tmp_path, env=home)
    run_command("evaluate.py", "--run_dir=~/runs/parts/good/0", env=home)
    assert (tmp_path / "runs/parts/good/0/evaluation.json").exists()


@pytest.mark.slow
def test_bars_in_a_terminal_alone(run_in_terminal, run_command, tmp_path):
    folder = write_folder(tmp_path / "parts", "mvtec", n=9, size=16)
    flags = (f"--dataset={folder}", f"--output_dir={tmp_path / 'runs'}", *SMALL, *LIGHT)
    shown = run_in_terminal("train.py", *flags)
    assert "36/36" in shown  # of reading
    assert "Epoch 2/2" in shown and "5/5" in shown
    done = run_command("train.py", *flags, "--overwrite")
    assert "36/36" not in done.stdout and "Epoch 2/2" in done.stdout
    run = tmp_path / "runs/parts/good/0"
    shown = run_in_terminal(
        "-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={tmp_path}"
    )
    assert "2/2" in shown  # steps


@pytest.mark.slow
def test_without_tensorboard_training_goes_on(run_command, tmp_path):
    code = (
        "import sys, runpy; sys.modules['tensorboard'] = None; sys.argv[0] = 'train.py'; "
        "runpy.run_path('train.py', run_name='__main__')"
    )
    done = run_command("-c", code, *flags_of(tmp_path, "--epochs=1", *LIGHT))
    assert "No TensorBoard logs: pip install" in done.stdout
    assert not (tmp_path / "digits/2/0/logs").exists()


def test_which_images_are_anomalous(run_dir, run_command, tmp_path):
    """Counts, the worst by name, all in the file, and an exit status for scripts."""
    folder = write_folder(tmp_path / "some", "plain", n=14, size=12)
    (folder / "013.png").write_bytes(b"no image")
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}")
    done = run_command("evaluate.py", *flags, f"--dataset={folder}", "--sort")
    rows = read_rows(tmp_path / "evaluation-some.csv")
    scores = [float(row["score"]) for row in rows]
    assert len(rows) == 13 and scores == sorted(scores, reverse=True)
    flagged = [row["path"] for row in rows if row["label"] == "1"]
    assert len(flagged) > 10  # digits' detector on noise
    assert f"{len(flagged)} of 13 images are anomalous" in done.stdout
    named = [line.split()[-1] for line in done.stdout.splitlines() if "  anomalous  " in line]
    assert named == flagged[:10] and f"and {len(flagged) - 10} more in the file" in done.stdout
    assert done.stdout.count("no true labels") == 1
    done = run_command(
        "evaluate.py", *flags, f"--dataset={folder}", "--fail_on_anomaly", check=False
    )
    assert done.returncode == 3 and not done.stderr.startswith("Error")


def test_single_images_get_a_line_each(run_dir, run_command, tmp_path):
    folder = write_folder(tmp_path / "some", "plain", n=3, size=12)
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}")
    chosen = (f"--dataset={folder}/00[01].png", f"--dataset={folder}/002.png")
    for wanted in (chosen[1:], chosen):
        done = run_command("evaluate.py", *flags, *wanted)
        lines = [line.split() for line in done.stdout.splitlines() if line.endswith(".png")]
        expected = read_rows(tmp_path / f"evaluation-{'002' if len(wanted) == 1 else 'some'}.csv")
        assert [line[-1] for line in lines] == [row["path"] for row in expected]
        for (score, verdict, _), row in zip(lines, expected, strict=True):
            assert float(score) == pytest.approx(float(row["score"]), rel=1e-3)
            assert verdict == ("anomalous" if row["label"] == "1" else "normal")
        assert "does not say which" not in done.stdout


def test_drift_is_seen_in_normal_images(run_dir, run_command, tmp_path):
    """The run's own normal test images have not changed; inverted ones have."""
    split = make_split(load_dataset("digits"), normal=2, seed=0)
    normal = split.x_test[split.y_test == 0].astype("uint8")
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}", "--all_normal")
    for name, images in (("same", normal), ("inverted", 255 - normal)):
        np.savez(tmp_path / f"{name}.npz", x_test=images[..., 0])
        done = run_command("evaluate.py", *flags, f"--dataset={tmp_path / name}.npz")
        found = json.loads((tmp_path / f"evaluation-{name}.json").read_text())
        assert found["drift"]["n_images"] == len(normal) == found["n_test"]
        assert found["drift"]["n_held_out"] == 28 and found["n_anomalous"] == 0
        said = "drift                 none seen" if name == "same" else "the scores have changed"
        assert said in done.stdout
        assert f"of {len(normal)} normal images\n" in done.stdout
    assert found["drift"]["p_value"] < 1e-6
