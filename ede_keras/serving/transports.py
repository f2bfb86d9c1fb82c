"""One request to a TF Serving server: gRPC's `PredictionService`, or REST."""

import base64
import copy
import json
import urllib.error
import urllib.request

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

# What the scoring signatures give of every image; REST's numbers have no type.
OUTPUT_DTYPES = {"score": "float32", "label": "int32", "threshold": "float32"}


class Unavailable(Exception):
    """The server cannot answer now; later it may."""


class GrpcTransport:
    """Requests by gRPC, TF Serving's port 8500.

    Args:
        address: "host:port".
        model_name: The server's name of the model.
        version: Integer, or None for the server's choice.
    """

    def __init__(self, address, model_name, version=None):
        # An extra, and heavy: not before it is asked for.
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise InputError(
                "gRPC needs the extra ede-keras[serving] (pip install 'ede-keras[serving]'); an "
                f"address that begins with http:// needs none. Received: {address}"
            ) from error
        self._codes = grpc.StatusCode
        self._error = grpc.RpcError
        self.address = address
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model_name
        if version is not None:
            self._request.model_spec.version.value = version
        # A batch of large images is more than gRPC's usual 4 MB.
        unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(address, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, signature_name, inputs, timeout):
        """The outputs of a signature.

        Args:
            signature_name: Signature of the SavedModel.
            inputs: Its inputs, a dict of arrays.
            timeout: Seconds.

        Returns:
            A dict of arrays.

        Raises:
            Unavailable: Asking again may help.
            InputError: It will not: the request is at fault.
            TimeoutError: No answer in time.
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
            if code in (self._codes.INVALID_ARGUMENT, self._codes.NOT_FOUND):
                raise _refused(details) from error
            if code == self._codes.DEADLINE_EXCEEDED:
                raise TimeoutError(f"{self.address} did not answer in time: {details}") from error
            raise ConnectionError(f"{self.address} failed ({code.name}): {details}") from error
        return {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}

    def close(self):
        self._channel.close()


class RestTransport:
    """Requests by REST, TF Serving's port 8501; the arguments as of `GrpcTransport`."""

    def __init__(self, address, model_name, version=None):
        self.address = address
        which = "" if version is None else f"/versions/{version}"
        self._url = f"{address.rstrip('/')}/v1/models/{model_name}{which}:predict"

    def predict(self, signature_name, inputs, timeout):
        """As `GrpcTransport.predict`."""
        columns = {name: _to_json(array) for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature_name, "inputs": columns}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                outputs = json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            details = _details(error)
            if error.code in (429, 503):
                raise Unavailable(details) from error
            if error.code in (400, 404):
                raise _refused(details) from error
            raise ConnectionError(f"{self._url} failed ({error.code}): {details}") from error
        except OSError as error:  # of the connection: bare, or as the reason of a URLError
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise TimeoutError(f"{self._url} did not answer in time") from error
            raise Unavailable(reason) from error
        return {name: np.array(value, OUTPUT_DTYPES[name]) for name, value in outputs.items()}

    def close(self):
        pass  # a connection lasts as long as its request


def _refused(details):
    """The error of a request that the server will never answer otherwise."""
    return InputError(f"The server refused the request. {details}")


def _to_json(array):
    if array.dtype == object:
        return [{"b64": base64.b64encode(content).decode()} for content in array]
    return array.tolist()


def _details(error):
    """TF Serving's own words, or whatever another server in between said."""
    body = error.read().decode(errors="replace")
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:500] or error.reason
