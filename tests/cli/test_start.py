"""Commands check their flags before they wait for TensorFlow; processes of their own show it."""

import os
import subprocess
import sys

import pytest
from commands import ROOT

from ede_keras import choices
from ede_keras.models.variants import VARIANTS
from ede_keras.rivals import RIVALS
from ede_keras.utils.devices import STRATEGIES

# Runs a script as Python would, then says what it has imported.
WATCHED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as error:
    print("code", error.code)
print("imported", [name for name in ("tensorflow", "keras", "sklearn") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train.py", "--help"), "--[no]overwrite"),
        (("train.py", "--epochs=x"), "flag --epochs=x"),
        (("train.py", "--method=gan"), "value should be one of <ede|vae|"),
        (("train.py", "--stride=8"), "--stride has no effect without --tile"),
        (("train.py", "--method=pca", "--tile=64"), "--tile has no effect with --method=pca"),
        (("train.py", "digits"), "Expected flags only"),
        (("evaluate.py", "--helpshort"), "--run_dir"),
        (("evaluate.py",), "Expected either --run_dir"),
        (("evaluate.py", "--run_dir=x", "--model_name=y"), "works only with --server"),
        (("evaluate.py", "--run_dir=x", "--raw_maps=npy"), "works only with --maps"),
    ],
)
def test_answered_without_tensorflow(arguments, said):
    script, *flags = arguments
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(ROOT / script), *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert said in done.stdout + done.stderr
    assert done.stdout.endswith("imported []\n"), done


def test_a_script_has_the_whole_library_at_once(tmp_path):
    """Even one named train.py: only the checkout's own waits, so saved models can be loaded."""
    script = tmp_path / "train.py"
    script.write_text(
        "import ede_keras, keras\n"
        "print(ede_keras.EDE.__name__, keras.saving.get_registered_name(ede_keras.TwinEDE))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.stdout.split() == ["EDE", "ede_keras>TwinEDE"], done.stderr


def test_the_names_are_those_of_what_they_stand_for():
    assert tuple(VARIANTS) == choices.VARIANTS
    assert tuple(RIVALS) == choices.RIVALS
    assert tuple(STRATEGIES) == choices.STRATEGIES
