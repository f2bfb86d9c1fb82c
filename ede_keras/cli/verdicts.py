"""The answer as a user reads it: how many images are anomalous, and which."""

import numpy as np

from ede_keras.evaluation.metrics import count_labels

# Images that are named on the console; the CSV file has all.
N_SHOWN = 10
# If all of so many images are anomalous, the model may not know such images at all.
ALL_OF = 10


def print_verdicts(
    ids: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    true_labels: np.ndarray | None,
    threshold: float,
    each: bool,
) -> None:
    """Prints how many images are anomalous, and the worst by name.

    Args:
        ids: Path or index of each image, `(n,)`.
        scores: float32 `(n,)`.
        labels: int32 `(n,)`, 1 for anomalous.
        true_labels: The same as the data set says; None if unknown.
        threshold: The threshold of the score.
        each: Whether every image gets a line, in its own order, as for images that were named one
            by one.
    """
    n_anomalous = int(labels.sum())
    images = "image" if len(ids) == 1 else "images"
    verb = "is" if n_anomalous == 1 else "are"
    print(f"\n{n_anomalous} of {len(ids)} {images} {verb} anomalous, above {threshold:.6g}")
    if n_anomalous == len(ids) >= ALL_OF and true_labels is None:
        print(
            "All of them: if some are good, they differ from the images that were trained on.\n"
            "Check camera, light and file format; --all_normal on good ones says how far off."
        )
    if true_labels is not None:
        counts = count_labels(labels, true_labels)
        print(f"false alarms: {counts[0][1]} of {sum(counts[0])} normal images")
        print(f"missed: {counts[1][0]} of {sum(counts[1])} anomalous images")
    worst = np.argsort(-scores, kind="stable")[:n_anomalous]
    chosen = range(len(ids)) if each else worst[:N_SHOWN]
    for i in chosen:
        print(f"  {scores[i]:>10.4g}  {('normal', 'anomalous')[labels[i]]}  {ids[i]}")
    if not each and n_anomalous > N_SHOWN:
        print(f"  and {n_anomalous - N_SHOWN} more in the file")


def sort_by_score(
    ids: np.ndarray, true_labels: np.ndarray | None, scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
    """The same with the most anomalous image first."""
    order = np.argsort(-scores, kind="stable")
    true_labels = None if true_labels is None else true_labels[order]
    return ids[order], true_labels, scores[order], labels[order]
