"""What commands print: nothing that sounds like an error unless it is one."""

import json
import os

import numpy as np
import pytest
from commands import LIGHT, ROOT, flags_of
from makers import write_folder
from PIL import Image


def run_without_log_level(run_python, *arguments, **more):
    """A real start, in an environment without the tests' own log level."""
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return run_python(*arguments, env={**env, **more})


def test_nothing_but_results(run_python, tmp_path):
    flags = flags_of(tmp_path, *LIGHT, "--epochs=1", "--min_steps=2")
    done = run_without_log_level(run_python, "train.py", *flags)
    # So little training may well end with a warning.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Warning: Separation")]
    assert said == [] and "AUROC" in done.stdout
    run = f"--run_dir={tmp_path / 'digits/2/0'}"
    done = run_without_log_level(run_python, "evaluate.py", run, "--verbosity=-2")
    assert done.stdout == "" and {line[:19] for line in done.stderr.splitlines()} <= {
        "Warning: Separation"
    }


@pytest.mark.parametrize(
    "command",
    [
        ("train.py",),
        ("evaluate.py",),
        ("-m", "ede_keras.export"),
        ("-m", "ede_keras.cli.compare"),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-helpfull"])
def test_help_is_no_error(run_command, command, flag):
    done = run_command(*command, flag)
    assert done.returncode == 0 and "--" in done.stdout


def test_an_unknown_format_is_said_with_those_there_are(run_command, run_dir, tmp_path):
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}", "--format=tflite")
    done = run_command("-m", "ede_keras.export", *flags, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Error: `formats` must be among onnx, litert. Received: 'tflite'"
    )


@pytest.mark.slow
def test_names_that_the_console_or_the_locale_lacks(run_python, tmp_path):
    good, parts = "正常", "零件"
    write_folder(tmp_path / parts / good, "plain", n=8, size=16)
    write_folder(tmp_path / parts / "bad", "plain", n=4, size=16)
    flags = (f"--dataset={tmp_path / parts}", f"--normal={good}", *LIGHT, "--epochs=1")
    flags = (*flags, "--min_steps=2", f"--output_dir={tmp_path / 'runs'}")
    run_without_log_level(run_python, "train.py", *flags, PYTHONIOENCODING="cp1252")
    (run,) = (tmp_path / "runs").glob("*/*/0")
    os.rename(run, tmp_path / "run")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    export = ("-m", "ede_keras.export", f"--run_dir={tmp_path / 'run'}")
    done = run_without_log_level(
        run_python, *export, f"--output_dir={tmp_path / 'ede'}", **ascii_only
    )
    assert done.stderr == "" and "Exported and checked" in done.stdout
    assert good in (tmp_path / "ede/1/MODEL.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_folder_of_odd_files_from_training_to_export(run_command, tmp_path):
    """12 bits, a link, a damaged file, two classes in train/; the export has the same white."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "casting"
    for part, n in (("train", 12), ("test", 4)):
        for name in ("ok_front", "def_front"):
            (folder / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 4096, (24, 24)).astype(np.uint16)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    (folder / "test/ok_front/0.png").write_bytes(b"")
    os.rename(folder / "test/def_front", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "test/def_front")
    flags = (f"--dataset={folder}", "--normal=ok_front", f"--output_dir={tmp_path / 'runs'}")
    flags = (*flags, *LIGHT, "--epochs=1", "--min_steps=2", "--base_width=2", "--latent_dim=4")
    done = run_command("train.py", *flags)
    assert "1 file, empty file: test/ok_front/0.png" in done.stderr
    assert "test/def_front/ is a link and was followed" in done.stdout
    run = tmp_path / "runs/casting/good/0"
    data = json.loads((run / "data.json").read_text())
    assert data["max_value"] == 4095 and data["files_of_16_bits"] == 31
    assert json.loads((run / "config.json").read_text())["max_value"] == 4095
    run_command("evaluate.py", f"--run_dir={run}")
    assert (run / "evaluation.csv").read_bytes() == (run / "scores.csv").read_bytes()
    one = folder / "train/ok_front/0.png"
    run_command("evaluate.py", f"--run_dir={run}", f"--dataset={one}")
    assert (run / "evaluation-0.csv").read_text().count("\n") == 2
    run_command("-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={tmp_path / 'ede'}")
    decoding = json.loads((tmp_path / "ede/1/assets.extra/decoding.json").read_text())
    assert decoding == {"max_value": 4095}
    for layout, more in (("bare_split", ()), ("ganomaly", ("--normal=0.normal",))):
        parts = write_folder(tmp_path / layout, layout, n=4, size=16)
        run_command("train.py", *flags[3:], f"--dataset={parts}", f"{flags[2]}", *more)
        other = tmp_path / f"runs/{layout}/good/0"
        run_command("evaluate.py", f"--run_dir={other}")
        assert (other / "evaluation.csv").read_bytes() == (other / "scores.csv").read_bytes()
    done = run_command("train.py", *flags, "--strict", "--overwrite", check=False)
    assert done.returncode == 1 and "1 file, empty file" in done.stderr
    assert (ROOT / "train.py").exists() and run.exists()


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(3)", "raise KeyError('x')", "print('y')"])
def test_last_words_during_the_import_are_shown(run_python, tmp_path, end):
    """TensorFlow aborts so on a processor without AVX."""
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        r"os.write(2, b'I0000 00:00:1795.437 18 port.cc:153] oneDNN\nIt needs AVX.\n')"
        f"\n{end}\n"
    )
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'ede_keras/utils')!r}); import quiet\n"
    code += f"sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "with quiet.without_log_lines(): import tensorflow\n"
    code += "print('It goes on.', file=sys.stderr)"
    done = run_python("-c", code, check=False)
    assert "It needs AVX." in done.stderr and "oneDNN" not in done.stderr
    assert ("It goes on." in done.stderr) == (end == "print('y')")
    assert ("Traceback" in done.stderr) == end.startswith("raise")
