"""Files of whom nobody knows: no code in them runs, and none of them gets out of its folder."""

import json
import shutil
import zipfile

import keras
import pytest


@pytest.fixture
def run_of(run_dir, tmp_path):
    """A copy of a finished run with another `model.keras`, in a folder that nothing else is in."""

    def run_of(members):
        run = tmp_path / "inside" / "run"
        shutil.copytree(run_dir, run)
        with zipfile.ZipFile(run / "model.keras", "a") as model:
            for name, content in members.items():
                model.writestr(name, content)
        return run

    return run_of


def replace_model(run, change):
    """Rewrites the config of the model, `change(config)`."""
    with zipfile.ZipFile(run / "model.keras") as model:
        members = {name: model.read(name) for name in model.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config)
    with zipfile.ZipFile(run / "model.keras", "w") as model:
        for name, content in members.items():
            model.writestr(name, content)


def assert_refused(run_command, run, reason):
    done = run_command("evaluate.py", f"--run_dir={run}", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "model.keras is damaged; train the run again" in done.stderr and reason in done.stderr


def test_no_code_of_a_lambda_runs(run_command, run_of, tmp_path):
    run = run_of({})
    trace = tmp_path / "trace"
    layer = keras.layers.Lambda(lambda x, path=str(trace): (open(path, "w").close(), x)[1])
    stranger = keras.Sequential([keras.Input((8, 8, 1)), layer])
    trace.unlink()  # the layer has just been called
    stranger.save(run / "model.keras")
    assert_refused(run_command, run, "safe_mode")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("os", "system", "touch trace"),
        ("builtins", "exec", "open('trace', 'w')"),
        ("subprocess", "Popen", ["touch", "trace"]),
    ],
)
def test_no_function_of_another_module_is_called(
    run_command, run_of, tmp_path, module, name, arguments
):
    run = run_of({})
    called = {"module": module, "class_name": name, "config": {"args": arguments}}
    replace_model(run, lambda config: config["config"].update(name=called))
    assert_refused(run_command, run, "")
    replace_model(run, lambda config: (config.clear(), config.update(called)))
    assert_refused(run_command, run, "")
    assert not list(tmp_path.rglob("trace"))


def test_no_member_climbs_out(run_command, run_of, tmp_path):
    """Not even of the part that Keras unpacks."""
    outside = {
        "../climbed": b"a",
        "assets/../../../climbed": b"b",
        f"{tmp_path}/climbed": b"c",
        "assets/layers/climbed": b"d",
    }
    run = run_of(outside)
    before = {path for path in tmp_path.rglob("*")}
    done = run_command("evaluate.py", f"--run_dir={run}", f"--output_dir={tmp_path}", check=False)
    assert "Traceback" not in done.stderr
    new = {path.name for path in tmp_path.rglob("*") if path not in before}
    assert new <= {"evaluation.csv", "evaluation.json"}
