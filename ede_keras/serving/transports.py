"""Sends one request to a TF Serving server: gRPC's `PredictionService`, or REST."""

import base64
import copy
import json
import urllib.error
import urllib.request

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

# Outputs of the scoring signatures. JSON numbers carry no dtype, so REST needs them.
OUTPUT_DTYPES = {"score": "float32", "label": "int32", "threshold": "float32"}
_MAP_DTYPES = {"anomaly_map": "float32", "pixel_threshold": "float32"}


class Unavailable(Exception):
    """The server cannot answer now, but may answer later."""


class RefusedRequest(InputError):
    """The server refused what was sent to the model: INVALID_ARGUMENT, or HTTP 400.

    Args:
        details: The server's message.
    """

    def __init__(self, details: str):
        super().__init__(_say_refused(details))
        self.details = details


class GrpcTransport:
    """Sends requests over gRPC, TF Serving's port 8500.

    Args:
        address: "host:port".
        model_name: Name of the model on the server.
        version: Version of the model, an integer. By default the server chooses.

    Raises:
        InputError: gRPC is not installed.
    """

    def __init__(self, address: str, model_name: str, version: int | None = None):
        # Imported here because they are slow to import and belong to an extra.
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise InputError(
                "gRPC needs an extra: pip install 'ede-keras[serving]', or use REST with an "
                f"address that begins with http://. Received: {address}"
            ) from error
        self._codes = grpc.StatusCode
        self._error = grpc.RpcError
        self.address = address
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model_name
        if version is not None:
            self._request.model_spec.version.value = version
        # A batch of large images exceeds gRPC's default limit of 4 MB.
        unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(address, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self, signature_name: str, inputs: dict[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        """Runs a signature of the SavedModel on the server.

        Args:
            signature_name: Name of the signature.
            inputs: Arrays by input name.
            timeout: Time limit in seconds.

        Returns:
            Arrays by output name.

        Raises:
            Unavailable: The server cannot answer now; a retry may succeed.
            RefusedRequest: The server refused the inputs; a retry will not help.
            InputError: The server does not have the model.
            TimeoutError: The server did not answer in time.
            ConnectionError: The server failed in any other way.
        """
        request = copy.deepcopy(self._request)
        request.model_spec.signature_name = signature_name
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            outputs = self._stub.Predict(request, timeout=timeout).outputs
        except self._error as error:
            code, details = error.code(), error.details()
            if code == self._codes.UNAVAILABLE:
                raise Unavailable(details) from error
            if code == self._codes.INVALID_ARGUMENT:
                raise RefusedRequest(details) from error
            if code == self._codes.NOT_FOUND:
                raise InputError(_say_refused(details)) from error
            if code == self._codes.DEADLINE_EXCEEDED:
                raise TimeoutError(f"{self.address} did not answer in time: {details}") from error
            raise ConnectionError(f"{self.address} failed ({code.name}): {details}") from error
        return {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class RestTransport:
    """Sends requests over REST, TF Serving's port 8501.

    Args:
        address: "http://host:port".
        model_name: Name of the model on the server.
        version: Version of the model, an integer. By default the server chooses.
    """

    def __init__(self, address: str, model_name: str, version: int | None = None):
        self.address = address
        path = "" if version is None else f"/versions/{version}"
        self._url = f"{address.rstrip('/')}/v1/models/{model_name}{path}:predict"

    def predict(
        self, signature_name: str, inputs: dict[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        """Runs a signature of the SavedModel on the server, like `GrpcTransport.predict`."""
        columns = {name: _to_json(array) for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature_name, "inputs": columns}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                outputs = json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            details = _read_details(error)
            if error.code in (429, 503):
                raise Unavailable(details) from error
            if error.code == 400:
                raise RefusedRequest(details) from error
            if error.code == 404:
                raise InputError(_say_refused(details)) from error
            raise ConnectionError(f"{self._url} failed ({error.code}): {details}") from error
        except OSError as error:  # a connection error, by itself or as the reason of a URLError
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise TimeoutError(f"{self._url} did not answer in time") from error
            raise Unavailable(reason) from error
        dtypes = OUTPUT_DTYPES | _MAP_DTYPES
        return {name: np.array(value, dtypes[name]) for name, value in outputs.items()}

    def close(self) -> None:
        """Does nothing: each request has its own connection."""


def _say_refused(details: str) -> str:
    return f"The server refused the request: {details}"


def _to_json(array: np.ndarray) -> list:
    if array.dtype == object:
        return [{"b64": base64.b64encode(content).decode()} for content in array]
    return array.tolist()


def _read_details(error: urllib.error.HTTPError) -> str:
    """The error message in TF Serving's answer, or the plain text of another server's answer."""
    body = error.read().decode(errors="replace")
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:500] or error.reason
