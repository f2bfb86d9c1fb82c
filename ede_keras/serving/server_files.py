"""What TF Serving reads beside the model: which models to serve, and how to batch requests."""

from pathlib import Path

from ede_keras.errors import InputError
from ede_keras.utils.files import atomic_path

# Batches that a server makes of the requests that wait; warm-up requests come in these sizes.
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


def write_server_files(output_dir):
    """Writes `models.config` and `batching.txt` into the folder of a model's versions.

    Examples to start from, for a server that has the folder at `/models/<its name>`, as TF
    Serving's container does. Files that are there already stay as they are.

    Args:
        output_dir: As of `export_savedmodel`; its name is the model's.

    Returns:
        The files that were written, a list of paths.
    """
    output_dir = Path(output_dir).expanduser().resolve()
    if '"' in output_dir.name or "\\" in output_dir.name:
        raise InputError(
            "The folder's name, which is the model's, must be without quotes and backslashes. "
            f"Received: {output_dir.name}"
        )
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    values = {"name": output_dir.name, "largest": BATCH_SIZES[-1], "allowed": allowed}
    written = []
    for name, text in {"models.config": _MODELS, "batching.txt": _BATCHING}.items():
        if not (output_dir / name).exists():
            with atomic_path(output_dir / name) as aside:
                aside.write_text(text.format(**values))
            written.append(output_dir / name)
    return written
