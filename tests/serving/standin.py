"""A stand-in for `tensorflow_model_server`: its gRPC and REST predict services over a session.

    python standin.py VERSION_FOLDER MODEL_NAME [BUSY]

Prints the gRPC port and the REST port, and serves until its standard input ends. It answers the
first BUSY requests as a server that is still loading the model. It reads the same request fields
as TF Serving and returns the same status codes.
"""

import base64
import http.server
import json
import sys
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.python.client.pywrap_tf_session import TF_SessionRun_wrapper
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

UNLIMITED = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Refused(Exception):
    """A refused request; the arguments are a gRPC status code and a message."""


class Model:
    """A version folder, loaded into a session."""

    def __init__(self, folder, name, busy):
        self.name, self.version, self.busy = name, int(folder.rstrip("/").rsplit("/")[-1]), busy
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        self.loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], folder)

    def predict(self, name, version, signature_name, inputs):
        if self.busy > 0:
            self.busy -= 1
            raise Refused(grpc.StatusCode.UNAVAILABLE, "Servable not yet available")
        if name != self.name or version not in (None, self.version):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {name}")
        signature = self.loaded.signature_def.get(signature_name or "serving_default")
        if signature is None:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f'Serving signature key "{signature_name}" not found.',
            )
        if set(inputs) != set(signature.inputs):
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Expected the inputs {sorted(signature.inputs)}. Received: {sorted(inputs)}",
            )

        def output(info):
            return self.session.graph.get_tensor_by_name(info.name)._as_tf_output()

        feeds = {
            output(signature.inputs[key]): np.asarray(
                value, tf.as_dtype(signature.inputs[key].dtype).as_numpy_dtype
            )
            for key, value in inputs.items()
        }
        fetches = [output(info) for info in signature.outputs.values()]
        try:
            # Calls C++ directly, because `run` would check shapes, which a server does not.
            found = TF_SessionRun_wrapper(self.session._session, None, feeds, fetches, [], None)
        except tf.errors.InvalidArgumentError as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, error.message) from error
        return dict(zip(signature.outputs, found, strict=True))

    def from_json(self, signature_name, columns):
        """Converts the lists of a REST request to arrays with the dtypes of the signature."""
        signature = self.loaded.signature_def[signature_name]
        return {
            key: np.array([base64.b64decode(v["b64"]) for v in value], object)
            if signature.inputs[key].dtype == tf.string.as_datatype_enum
            else np.array(value, tf.as_dtype(signature.inputs[key].dtype).as_numpy_dtype)
            for key, value in columns.items()
        }


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        try:
            outputs = self.model.predict(spec.name, version, spec.signature_name, inputs)
        except Refused as error:
            context.abort(*error.args)
        response = predict_pb2.PredictResponse()
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response


def make_handler(model):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # /v1/models/NAME[/versions/VERSION]:predict
            _, _, name, *versions = self.path.removesuffix(":predict").strip("/").split("/")
            try:
                outputs = model.predict(
                    name,
                    int(versions[1]) if versions else None,
                    body["signature_name"],
                    model.from_json(body["signature_name"], body["inputs"]),
                )
                code = 200
                answer = {"outputs": {key: value.tolist() for key, value in outputs.items()}}
            except Refused as error:
                code, answer = HTTP_CODES[error.args[0]], {"error": error.args[1]}
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments):
            pass

    return Handler


def main(folder, name, busy="0"):
    model = Model(folder, name, int(busy))
    server = grpc.server(futures.ThreadPoolExecutor(4), options=UNLIMITED)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(model), server
    )
    grpc_port = server.add_insecure_port("localhost:0")
    server.start()
    rest = http.server.ThreadingHTTPServer(("localhost", 0), make_handler(model))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    print(grpc_port, rest.server_port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
