"""Sends images to a TF Serving server and returns their scores, over gRPC or REST."""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ede_keras.data.images.conversion import make_decodable
from ede_keras.errors import InputError, UnreadableImage
from ede_keras.serving.transports import (
    OUTPUT_DTYPES,
    GrpcTransport,
    RefusedRequest,
    RestTransport,
    Unavailable,
)
from ede_keras.utils.messages import find_last_line
from ede_keras.utils.validation import warn_of_range

Images = np.ndarray | Sequence[str | Path | bytes]
# The signatures that give the maps of the same images.
_MAP_SIGNATURES = {"serving_default": "serving_map", "serving_bytes": "serving_map_bytes"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds


class ScoringClient:
    """Scores images on a TF Serving server, with a model that `export_savedmodel` wrote.

    If the server cannot be reached or is still loading the model, the client tries again after
    pauses that double, until the timeout.

    Args:
        address: "host:port" for gRPC (TF Serving's port 8500; needs the extra
            `ede-keras[serving]`), or "http://host:port" for REST (port 8501).
        model_name: Name of the model on the server. Defaults to "ede".
        version: Version of the model, an integer. By default the server chooses.
        batch_size: Images per request, at least 1. Defaults to 64.
        timeout: Time limit of one request, retries included, in seconds. Defaults to 30.

    Raises:
        InputError: `batch_size` or `timeout` is not positive, or gRPC is not installed.

    Example:
        >>> with ScoringClient("localhost:8500") as client:
        ...     client.score(["parts/001.png", "parts/002.png"])["label"]
        array([0, 1], dtype=int32)
    """

    def __init__(
        self,
        address: str,
        model_name: str = "ede",
        version: int | None = None,
        batch_size: int = 64,
        timeout: float = 30.0,
    ):
        if batch_size < 1 or timeout <= 0:
            raise InputError(
                "`batch_size` and `timeout` must be positive. "
                f"Received: batch_size={batch_size}, timeout={timeout}"
            )
        transport: type[RestTransport] | type[GrpcTransport] = (
            RestTransport if address.startswith(("http:", "https:")) else GrpcTransport
        )
        self.transport = transport(address, model_name, version)
        self.batch_size = batch_size
        self.timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.transport.close()

    def score(self, images: Images, threshold: float | None = None) -> dict[str, np.ndarray]:
        """Scores images, in batches of `batch_size`.

        Args:
            images: Array `(n, height, width, channels)` of any numeric dtype with pixels from 0
                to 255, as for `model.predict`. Or a sequence of image files, each given by its
                path or by its content as `bytes`; the server decodes and resizes them. Files
                that are not PNG or JPEG, or that have an EXIF orientation, are converted to PNG
                first.
            threshold: Threshold to use instead of the model's own. Only for arrays.

        Returns:
            A dict of arrays `(n,)`: `score`, float32, higher means more anomalous; `label`,
            int32, 1 if the score is above the threshold; `threshold`, float32.

        Raises:
            InputError: The images cannot be used, or the server refused them. The message
                quotes the server.
            TimeoutError: The server did not answer in time.
            ConnectionError: The server could not be reached, or failed.
        """
        return join_batches(list(self.score_batches(images, threshold)))

    def score_batches(
        self, images: Images, threshold: float | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Scores images like `score`, one batch at a time.

        Args:
            images: As in `score`.
            threshold: As in `score`.

        Yields:
            The outputs of `score` for the next `batch_size` images.

        Raises:
            InputError: As in `score`.
            TimeoutError: As in `score`.
            ConnectionError: As in `score`.
        """
        if isinstance(images, str | bytes | Path):
            raise InputError(
                "`images` must be an array or a sequence of images; put a single image into a "
                f"list. Received: {images!r:.60}"
            )
        for begin in range(0, len(images), self.batch_size):
            batch = images[begin : begin + self.batch_size]
            yield self._predict(*build_request(batch, threshold))

    def compute_maps(self, images: Images) -> dict[str, np.ndarray]:
        """Computes anomaly maps, in batches of `batch_size`.

        Args:
            images: As in `score`.

        Returns:
            A dict of arrays: `anomaly_map`, float32 `(n, height, width)`, as in `model.predict`;
            `pixel_threshold`, float32 `(n,)`, above which a pixel is anomalous.

        Raises:
            InputError: As in `score`; also if the model was exported without maps of files.
            TimeoutError: As in `score`.
            ConnectionError: As in `score`.
        """
        batches = []
        for begin in range(0, len(images), self.batch_size):
            signature_name, inputs = build_request(images[begin : begin + self.batch_size])
            batches.append(self._predict(_MAP_SIGNATURES[signature_name], inputs))
        return join_batches(batches)

    def score_contents(
        self, contents: Sequence[bytes]
    ) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """Scores a batch of image files. If the server refuses it, each file is sent on its own.

        Args:
            contents: Contents of PNG or JPEG files, which are sent as they are.

        Returns:
            `(outputs, refused)`: the outputs of `score` for the files that the server accepted, and
            the server's reason for the others, by their position.

        Raises:
            TimeoutError: As in `score`.
            ConnectionError: As in `score`.
            InputError: The server does not have the model.
        """
        try:
            return self._predict(*_request_of_contents(contents)), {}
        except RefusedRequest as error:
            if len(contents) == 1:
                return join_batches([]), {0: f"refused: {find_last_line(error.details)}"}
        found = [self.score_contents([content]) for content in contents]
        reasons = {i: reasons[0] for i, (_, reasons) in enumerate(found) if reasons}
        return join_batches([outputs for outputs, _ in found]), reasons

    def _predict(self, signature_name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
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
                        f"No answer from {self.transport.address} within {self.timeout:g} s. Check "
                        f"that the server is running and has loaded the model. Received: {error}"
                    ) from error
            # A random pause keeps many clients from retrying at the same moment.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)


def join_batches(batches: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins the batches of `score_batches` into one dict of arrays, as `score` returns it."""
    if not batches:
        return {name: np.empty(0, dtype) for name, dtype in OUTPUT_DTYPES.items()}
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def build_request(
    images: Images, threshold: float | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """Chooses the signature for these images.

    Args:
        images: As in `ScoringClient.score`.
        threshold: As in `ScoringClient.score`.

    Returns:
        `(signature_name, inputs)`; `inputs` maps each input of the signature to an array.

    Raises:
        InputError: The array has a wrong shape or dtype, a threshold was given for files, or a
            file cannot be read.
    """
    if not isinstance(images, np.ndarray):
        if threshold is not None:
            raise InputError(
                "`threshold` works with arrays of pixels only; leave it out for image files. "
                f"Received: threshold={threshold}"
            )
        contents = [_read_content(image) for image in images]
        return _request_of_contents(contents)
    if images.ndim != 4 or images.dtype.kind not in "uif":
        raise InputError(
            "`images` must be numbers of shape (n, height, width, channels). Received: "
            f"{images.dtype} of shape {images.shape}"
        )
    if images.size:
        warn_of_range(images.min(), images.max())
    inputs = {"images": images.astype("float32", copy=False)}
    if threshold is None:
        return "serving_default", inputs
    return "serving_threshold", inputs | {"threshold": np.full(len(images), threshold, "float32")}


def _request_of_contents(contents: Sequence[bytes]) -> tuple[str, dict[str, np.ndarray]]:
    return "serving_bytes", {"image_bytes": np.array(contents, object)}


def _read_content(image: str | Path | bytes) -> bytes:
    """The content of an image file as the server decodes it."""
    content = image if isinstance(image, bytes) else Path(image).read_bytes()
    try:
        return make_decodable(content)
    except UnreadableImage as error:
        if isinstance(image, bytes):  # the server says what it expects
            return content
        raise InputError(f"Every image must be readable. Received: {image} ({error})") from error
