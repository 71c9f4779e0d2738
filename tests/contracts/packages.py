"""The packages: who may import whom, and where their files are."""

from tests.places import ROOT

LAYERS = {  # package → what it may import besides itself
    "runtime": set(),
    "metrics": {"runtime"},
    "images": {"runtime"},
    "model": {"runtime"},
    "calibration": {"images", "metrics", "runtime"},
    "export": {"calibration", "model", "images", "metrics", "runtime"},
    "measure": {"export", "calibration", "model", "images", "metrics", "runtime"},
    "classify": {"measure", "images", "runtime"},
    "commands": {"classify", "measure", "export", "calibration", "model", "images", "metrics", "runtime"},
}
ON_TOP = ("runtime", "export", "calibration")  # the packages whose folders stand beside deepvit/


def folder_of(package):
    return ROOT / package if package in ON_TOP else ROOT / "deepvit" / package


def sources(package):
    folder = folder_of(package)
    return sorted(path for path in folder.rglob("*.py") if "cpp" not in path.relative_to(folder).parts)


def module_of(path, package):
    parts = ("deepvit", package, *path.relative_to(folder_of(package)).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
