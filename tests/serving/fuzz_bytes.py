"""Sends N mutated image files to the signature `serving_bytes` of a SavedModel, in a session.

    python fuzz_bytes.py FOLDER N

Prints how many were scored and how many were refused. Anything else, such as a crash or a score
that is not finite, is an error.
"""

import sys

import numpy as np
import tensorflow as tf

from ede_keras.serving.savedmodel_check import open_session


def make_files(rng):
    image = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    smooth = np.kron(image[:4, :4], np.ones((8, 8, 1), np.uint8))
    for pixels in (image, smooth, image[..., :1]):
        yield tf.io.encode_png(pixels).numpy()
        yield tf.io.encode_jpeg(pixels).numpy()
        yield tf.io.encode_jpeg(pixels, progressive=True).numpy()
    size = (4).to_bytes(4, "little")
    rows = image[:4, :4].tobytes()
    sizes = [(54 + len(rows)), 0, 54, 40]
    header = b"BM" + b"".join(n.to_bytes(4, "little") for n in sizes) + size + size
    yield header + b"\x01\x00\x18\x00" + bytes(24) + rows
    yield (  # a GIF of 2 x 2 pixels
        b"GIF89a\x02\x00\x02\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x02\x00"
        b"\x02\x00\x00\x02\x02\x84Q\x00;"
    )


def mutate(content, rng):
    content = bytearray(content)
    # Most sizes and block types are near the beginning of a file.
    reach = len(content) if rng.random() < 0.5 else min(len(content), 40)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(reach))
        kind = rng.integers(4)
        if kind == 0:
            content[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            content[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\0\0\x20\0", b"\x7f"])
        elif kind == 2:
            content[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            del content[at : at + int(rng.integers(1, 9))]
    if rng.random() < 0.2:
        del content[int(rng.integers(len(content))) :]
    return bytes(content)


def main(folder, n):
    rng = np.random.default_rng(0)
    files = list(make_files(rng))
    counts = {"scored": 0, "refused": 0}
    with open_session(folder) as signatures:

        def score(content):
            found = signatures["serving_bytes"](image_bytes=[content])["score"]
            assert np.isfinite(found).all()

        for content in files:
            score(content)
        for i in range(int(n)):
            try:
                score(mutate(files[i % len(files)], rng))
                counts["scored"] += 1
            except tf.errors.InvalidArgumentError:
                counts["refused"] += 1
    print(counts["scored"], counts["refused"])


if __name__ == "__main__":
    main(*sys.argv[1:])
