"""What was read from a data set, and what was left out."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ede_keras.data.images.inspection import NO_IMAGE, ImageFacts, is_image_name
from ede_keras.data.mask_files import Masks

_SHOWN = 3  # names of files in a printed line


@dataclasses.dataclass(frozen=True)
class LoadingSummary:
    """What was read from a data set. `lines` prints it, `to_dict` is the content of `data.json`.

    Args:
        source: Where the images came from.
        layout: How a folder was read, in words; empty if it is not a folder.
        classes: Images of each class, by part: `{"train": {"good": 20}, "test": {...}}`.
        left_out: Files that were not used, with the reason.
        notes: What else a reader should know, a sentence each.
        facts: Further entries of `data.json`: sizes, channels, bits, range of values, masks.
    """

    source: str
    layout: str = ""
    classes: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def n_used(self) -> int:
        """Number of images that were read."""
        return sum(n for part in self.classes.values() for n in part.values())

    @property
    def n_seen(self) -> int:
        """Number of files that were seen: those used and those left out."""
        return self.n_used + len(self.left_out)

    @property
    def lost(self) -> dict[str, str]:
        """The files left out that should have been images."""
        return {
            file: reason
            for file, reason in self.left_out.items()
            if not reason.startswith(NO_IMAGE) or is_image_name(file)
        }

    def lines(self) -> list[str]:
        """The summary for people, without `lost`: one line if there is nothing to say."""
        others = {file: why for file, why in self.left_out.items() if file not in self.lost}
        read = f", read as {self.layout}" if self.layout else ""
        lines = [f"{self.n_used} of {self.n_seen} files used from {self.source}{read}"]
        if self.layout:
            lines += [
                f"  {part}: {', '.join(f'{n} {name}' for name, n in counts.items())}"
                for part, counts in self.classes.items()
                if counts and (len(counts) > 1 or len(self.classes) > 1)
            ]
        lines += [f"  left out: {line}" for line in describe_left_out(others)]
        return lines + [f"  {note}" for note in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a JSON file; for the files left out, the numbers and the first names."""
        names: dict[str, list[str]] = {}
        for file, reason in self.left_out.items():
            names.setdefault(reason, []).append(file)
        left_out = {
            reason: {"files": len(files), "first": files[:_SHOWN]}
            for reason, files in names.items()
        }
        return {
            "source": self.source,
            "layout": self.layout or None,
            "seen": self.n_seen,
            "used": self.n_used,
            "classes": {part: dict(counts) for part, counts in self.classes.items()},
            "left_out": left_out,
            "notes": list(self.notes),
            **self.facts,
        }


def describe_left_out(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason: the number of files, the reason and the first names."""
    lines = []
    for reason, n in Counter(left_out.values()).most_common():
        names = [file for file, why in left_out.items() if why == reason][:_SHOWN]
        more = ", ..." if n > len(names) else ""
        lines.append(f"{_count(n, 'file')}, {reason}: {', '.join(names)}{more}")
    return lines


def count_reasons(reasons: Mapping[str, int], unit: str = "file") -> list[str]:
    """A line for each reason, the most frequent first: the number of files and the reason.

    Args:
        reasons: Reason to number of files.
        unit: What is counted.
    """
    return [f"{_count(n, unit)}, {reason}" for reason, n in Counter(reasons).most_common()]


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


def describe_files(facts: Sequence[ImageFacts]) -> tuple[dict[str, Any], list[str]]:
    """What the headers of the files say: entries of `data.json`, and notes.

    Args:
        facts: Those of the images that were read, at least one.
    """
    sizes = [fact.size for fact in facts]
    areas = [height * width for height, width in sizes]
    deep = sum(fact.bits == 16 for fact in facts)
    other = sum(size != sizes[0] for size in sizes)
    paged = sum(fact.n_frames > 1 for fact in facts)
    alpha = sum(fact.has_alpha for fact in facts)
    turned = sum(fact.orientation > 1 for fact in facts)
    entries: dict[str, Any] = {
        "smallest": list(sizes[int(np.argmin(areas))]),
        "largest": list(sizes[int(np.argmax(areas))]),
        "longest": list(max(sizes, key=lambda size: max(size) / min(size))),
        "first": list(sizes[0]),
        "not_of_the_first_size": other,
        "formats": dict(Counter(fact.format for fact in facts)),
        "files_of_16_bits": deep,
        "files_of_several_pages": paged,
        "files_with_alpha": alpha,
        "turned_by_exif": turned,
    }
    notes = []
    if other:
        smallest, largest = (" x ".join(map(str, entries[n])) for n in ("smallest", "largest"))
        notes.append(f"sizes differ, from {smallest} to {largest}: all are resized")
    if paged:
        notes.append(f"{paged} files have several pages or frames: only the first is read")
    if alpha:
        notes.append(f"the transparency of {alpha} files is dropped")
    return entries, notes


def describe_dimness(highest: float, share: float, has_max_value: bool) -> list[str]:
    """A note if no pixel comes near white: the scale may be a different one.

    Args:
        highest: The highest pixel as stored.
        share: Its fraction of white as read, 0 to 1.
        has_max_value: Whether `--max_value` has an effect on such pixels.
    """
    if share > 0.25:
        return []
    if not highest:
        return ["all pixels are 0"]
    remedy = f"train with --max_value={highest:g}" if has_max_value else "scale the images"
    return [
        f"the brightest pixel is {highest:g}, {share:.0%} of white: {remedy} if it should be white"
    ]


def describe_masks(
    masks: Masks, anomalous: Sequence[str] | None
) -> tuple[dict[str, Any], list[str]]:
    """The numbers of masks: an entry of `data.json`, and notes.

    Args:
        masks: The masks that were found.
        anomalous: The anomalous test images; None if the normal class is not known yet.
    """
    found = {*masks.drawn, *masks.unread, *masks.empty}
    missing = [file for file in anomalous or () if file not in found]
    # An empty mask of a normal image is right.
    empty = [file for file in masks.empty if anomalous is not None and file in anomalous]
    counts = {
        "found": len(masks.drawn),
        "missing": None if anomalous is None else len(missing),
        "empty": len(empty),
        "unread": len(masks.unread),
        "of_another_size_than_the_image": len(masks.resized),
    }
    notes = [f"{len(masks.drawn)} masks"] if masks.drawn else []
    if found:
        notes += [
            f"{len(files)} anomalous images {what}, so their pixels are not measured: "
            + ", ".join(list(files)[:_SHOWN])
            for files, what in (
                (missing, "have no mask"),
                (empty, "have an empty mask"),
                (masks.unread, "have a mask that cannot be used"),
            )
            if files
        ]
    if masks.resized:
        notes.append(f"{len(masks.resized)} masks differ in size from their images")
    return {"masks": counts}, notes
