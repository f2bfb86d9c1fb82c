"""The client without a server that answers."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from ede_keras.errors import InputError
from ede_keras.serving.client import ScoringClient

PIXELS = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_no_server(scheme):
    began = time.monotonic()
    with pytest.raises(
        ConnectionError, match="No answer from .* within 0.5 s. Check that the server is running"
    ):
        ScoringClient(scheme + "localhost:9", "parts", timeout=0.5).score(PIXELS)
    assert time.monotonic() - began < 10


def test_timeout():
    """The server accepts the request and does not answer."""

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(2)

    with HTTPServer(("localhost", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = ScoringClient(f"http://localhost:{server.server_port}", "parts", timeout=0.2)
        with pytest.raises(TimeoutError, match="did not answer in time"):
            client.score(PIXELS)
        server.shutdown()


@pytest.mark.parametrize("argument", [{"batch_size": 0}, {"timeout": 0}])
def test_invalid_arguments(argument):
    with pytest.raises(InputError, match="must be positive. Received: "):
        ScoringClient("localhost:1", **argument)
