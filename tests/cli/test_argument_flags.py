"""Every argument has a flag, made from the field that defines it."""

import json
import re

import pytest
from commands import flags_of

from ede_keras.models.arguments import EDEArguments, TrainingArguments

NAMES = (*TrainingArguments.names(), *EDEArguments.names())


def test_help_lists_every_argument_with_its_range(run_command):
    done = run_command("train.py", "--help", check=False)
    for name in NAMES:
        assert re.search(rf"^  --(\[no\])?{name}:", done.stdout, flags=re.M), name
    shown = " ".join(done.stdout.split())
    assert "--phase_floor: The smallest weight of phase 1" in shown
    assert "(a number in the range [0, 1])" in shown and "<l1|l2>" in shown


def test_flags_reach_the_run(run_command, tmp_path):
    given = {"beta_1": 0.25, "omega1": 0.5, "mirror": True, "memory_size": 7, "schedule": None}
    flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
    run_command("train.py", *flags_of(tmp_path, *flags, "--epochs=1"))
    config = json.loads((tmp_path / "digits/2/0/config.json").read_text())
    assert set(NAMES) <= set(config)
    given["schedule"] = "floored_inverse_epoch"  # the recipe's
    assert {name: config[name] for name in given} == given


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--image_size=20", "--image_size must be a multiple of 8"),
        ("--learning_rate=0", "--learning_rate must be above 0"),
        ("--contamination=1", "--contamination must be at least 0, below 1"),
        ("--pretext=rotations_shifts_and_colours", "needs images of 3 channels. Received: 1"),
    ],
)
def test_what_is_wrong_is_said_before_a_folder_is_made(run_command, tmp_path, flag, message):
    done = run_command("train.py", *flags_of(tmp_path, flag), check=False)
    assert done.returncode == 1 and message in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_all_commands_can_be_imported_in_one_process(run_command):
    """Flags of the same name are defined when a command runs, not when it is imported."""
    run_command("-c", "from ede_keras.cli import evaluate, export, train; import ede_keras.export")
