"""What a measurement was made on."""

import importlib.util
import os
import platform
from importlib.metadata import version


def usable_cpus():
    """Those that this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def peak_mib():
    """The most memory that this process has used. What `resource` says begins with its parent's."""
    with open("/proc/self/status") as file:
        (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
    return int(peak) / 1024


def versions():
    """Of what shapes a result, flat, as the lines of results have it."""
    packages = ("tensorflow", "keras", "numpy", "scikit-learn")
    found = {f"{name}_version": version(name) for name in packages}
    return {**found, "python_version": platform.python_version(), "cpus": usable_cpus()}


def _facts():
    """What the system says of the processor, by name."""
    with open("/proc/cpuinfo") as file:
        lines = [line.split(":", 1) for line in file if ":" in line]
    return {name.strip(): value.strip() for name, value in lines}


def vectors():
    """The processor's kind, by the widest instructions: "avx512", "avx2" or "other"."""
    found = _facts().get("flags", "").split()
    kinds = {"avx512": "avx512f", "avx2": "avx2"}
    return next((kind for kind, name in kinds.items() if name in found), "other")


def describe():
    """The machine, in words and numbers, and what runs on it."""
    packages = ("keras", "tensorflow", "numpy", "torch")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_facts().get('model name', platform.processor())} {vectors()}",
        "cores": usable_cpus(),
        "memory": f"{gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages if importlib.util.find_spec(name)},
    }
