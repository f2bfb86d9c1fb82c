"""Writes the versions of the packages that are installed here, as constraints for pip.

python docs/constraints.py [FILE]

Run it where CI has passed. The file has what the package needs at run time, the extras included
that are installed; not what only its development needs.
"""

import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILE = Path(__file__).parent / "constraints.txt"
PACKAGE = "ede-keras"
DEVELOPMENT = {"bench", "docs", "serving-test", "test"}
HEAD = "# Versions that CI has tested, on Linux with Python {}.{}; written by docs/constraints.py\n"


def find_versions(package, extras):
    """The versions of a package and of all that it needs with the extras, by name."""
    versions, seen = {}, set()
    waiting = [(package, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of an extra that is not installed
            continue
        versions[name] = found.version
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return versions


def main():
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra", [])
    versions = find_versions(PACKAGE, set(extras) - DEVELOPMENT)
    del versions[PACKAGE]
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.write_text(HEAD.format(*sys.version_info) + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
