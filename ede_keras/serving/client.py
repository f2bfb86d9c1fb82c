"""Images to a TF Serving server and its scores back, by gRPC or REST."""

import random
import time
from pathlib import Path

import numpy as np

from ede_keras.errors import InputError
from ede_keras.serving.transports import OUTPUT_DTYPES, GrpcTransport, RestTransport, Unavailable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds


class ScoringClient:
    """Scores images by a model that `export_savedmodel` made and TF Serving serves.

    A server that cannot be reached, or is busy loading the model, is asked again after pauses
    that double, until the timeout.

    Args:
        address: "host:port" speaks gRPC (TF Serving's port 8500; needs the extra
            `ede-keras[serving]`), "http://host:port" REST (its port 8501).
        model_name: The server's name of the model.
        version: Integer; by default whichever version the server prefers.
        batch_size: Images in one request.
        timeout: Seconds that a request may take, with all its retries.

    Raises:
        InputError: The address is none.

    Example:
        >>> with ScoringClient("localhost:8500") as client:
        ...     client.score(["parts/001.png", "parts/002.png"])["label"]
        array([0, 1], dtype=int32)
    """

    def __init__(self, address, model_name="ede", version=None, batch_size=64, timeout=30.0):
        if batch_size < 1 or timeout <= 0:
            raise InputError(
                "`batch_size` and `timeout` must be positive. "
                f"Received: batch_size={batch_size}, timeout={timeout}"
            )
        transport = RestTransport if address.startswith(("http:", "https:")) else GrpcTransport
        self.transport = transport(address, model_name, version)
        self.batch_size = batch_size
        self.timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Ends the connection."""
        self.transport.close()

    def score(self, images, threshold=None):
        """The score of every image.

        Args:
            images: Array `(n, height, width, channels)`, any numeric dtype, 0 to 255, as
                `model.predict` takes it; or a sequence of paths of image files or of their
                contents, `bytes`, of any size, which the server decodes.
            threshold: Decides in place of the model's own; a number, for arrays alone.

        Returns:
            A dict of arrays `(n,)`: `score`, float32, higher is more anomalous; `label`, int32, 1
            where the score is above the threshold; `threshold`, float32.

        Raises:
            InputError: The server cannot use the images; it says what it expected.
            TimeoutError: The server did not answer in time.
            ConnectionError: It was not to be reached.
        """
        return join_batches(list(self.score_batches(images, threshold)))

    def score_batches(self, images, threshold=None):
        """`score`, a batch at a time: yields a dict of arrays for every `batch_size` images."""
        if isinstance(images, str | bytes | Path):
            raise InputError(
                f"`images` must be an array or a sequence of images. Received: one {images!r:.60}"
            )
        for begin in range(0, len(images), self.batch_size):
            batch = images[begin : begin + self.batch_size]
            yield self._ask(*build_request(batch, threshold))

    def _ask(self, signature_name, inputs):
        deadline = time.monotonic() + self.timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                return self.transport.predict(
                    signature_name, inputs, max(deadline - time.monotonic(), 0.001)
                )
            except Unavailable as error:
                if time.monotonic() + pause > deadline:
                    raise ConnectionError(
                        f"No answer from {self.transport.address} within {self.timeout:g} s; is a "
                        f"server there, and has it loaded the model? The last reason: {error}"
                    ) from error
            # Not all clients of a server that comes back are to ask at the same moment.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)


def join_batches(batches):
    """What `score` gives, of all that `score_batches` gave."""
    if not batches:
        return {name: np.empty(0, dtype) for name, dtype in OUTPUT_DTYPES.items()}
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def build_request(images, threshold=None):
    """The signature that takes these images, and its inputs: `(name, {input: array})`."""
    if not isinstance(images, np.ndarray):
        contents = [i if isinstance(i, bytes) else Path(i).read_bytes() for i in images]
        if threshold is not None:
            raise InputError("`threshold` goes with arrays of pixels alone. Leave it out.")
        return "serving_bytes", {"image_bytes": np.array(contents, object)}
    if images.ndim != 4 or images.dtype.kind not in "uif":
        raise InputError(
            "`images` must be numbers of shape (n, height, width, channels). Received: "
            f"{images.dtype} of shape {images.shape}"
        )
    inputs = {"images": images.astype("float32", copy=False)}
    if threshold is None:
        return "serving_default", inputs
    return "serving_threshold", inputs | {"threshold": np.full(len(images), threshold, "float32")}
