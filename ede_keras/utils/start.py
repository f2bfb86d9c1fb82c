"""How this process was started: by one of the package's commands, or by a script."""

import re
import sys
from pathlib import Path

# A command, such as `ede-train` or `python -m ede_keras.export`.
IS_COMMAND = any(
    re.search(r"(^|[/\\])ede-\w+(\.exe)?$|^ede_keras\.", word) for word in sys.orig_argv[1:4]
)


def checks_flags_first() -> bool:
    """Whether this is a command that imports TensorFlow, which takes seconds, after its flags."""
    script = Path(sys.argv[0] if sys.argv else "")
    if script.stem in ("ede-train", "ede-evaluate"):
        return True
    checkout = Path(__file__).resolve().parents[2]
    return script.stem in ("train", "evaluate") and script.resolve().parent == checkout
