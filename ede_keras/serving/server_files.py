"""Writes config files for TF Serving: which models to serve, and how to batch requests."""

from pathlib import Path

from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath, atomic_path

# Batch sizes that the server pads waiting requests to. Warm-up requests have the same sizes.
BATCH_SIZES = (1, 8, 64)

_MODELS = """\
# tensorflow_model_server --model_config_file=/models/{name}/models.config
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""
_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=/models/{name}/batching.txt
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 2000 }}
num_batch_threads {{ value: 4 }}
max_enqueued_batches {{ value: 100 }}
{allowed}
"""


def write_server_files(output_dir: StrPath) -> list[Path]:
    """Writes `models.config` and `batching.txt` into the folder of a model's versions.

    They are examples to start from. They expect the folder at `/models/<name>` on the server, as
    in TF Serving's container. Existing files are kept.

    Args:
        output_dir: The folder given to `export_savedmodel`. Its name becomes the model's name.

    Returns:
        The paths of the files that were written.

    Raises:
        InputError: The folder's name contains a quote or a backslash.
    """
    output_dir = Path(output_dir).expanduser().resolve()
    if '"' in output_dir.name or "\\" in output_dir.name:
        raise InputError(
            "The folder's name becomes the model's name and must not contain quotes or "
            f"backslashes. Received: {output_dir.name}"
        )
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    values = {"name": output_dir.name, "largest": BATCH_SIZES[-1], "allowed": allowed}
    written = []
    for name, text in {"models.config": _MODELS, "batching.txt": _BATCHING}.items():
        if not (output_dir / name).exists():
            with atomic_path(output_dir / name) as temporary:
                temporary.write_text(text.format(**values), encoding="utf-8")
            written.append(output_dir / name)
    return written
