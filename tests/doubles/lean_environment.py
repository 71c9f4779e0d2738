"""An environment with what an extra of ours brings and nothing else, made of what is installed here, without pip."""

import importlib.metadata
import pathlib

from packaging.requirements import Requirement


def closure(metadata, extras):
    """Distributions that pip would install for `deepvit[extras]`, ours left out.

    Args:
        metadata: Ours, as a wheel has it.
        extras: Names of extras.
    """
    found, seen = {}, set()
    due = [(metadata.get_all("Requires-Dist"), frozenset(extras))]
    while due:
        requirements, chosen = due.pop()
        for requirement in map(Requirement, requirements or ()):
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in (*chosen, "")):
                continue
            key = (requirement.name.lower(), frozenset(requirement.extras))
            if key in seen:
                continue
            seen.add(key)
            if key[0] == "deepvit":
                due.append((metadata.get_all("Requires-Dist"), key[1]))
                continue
            distribution = importlib.metadata.distribution(requirement.name)
            assert requirement.specifier.contains(distribution.version), (requirement, distribution.version)
            found[distribution.name] = distribution
            due.append((distribution.requires, key[1]))
    return found


def link(distributions, folder):
    """Make a folder for PYTHONPATH that has these distributions alone, as links; return their bytes."""
    size = 0
    for distribution in distributions.values():
        for file in distribution.files:
            path = pathlib.Path(distribution.locate_file(file))
            if ".." in file.parts or not path.is_file():
                continue
            size += path.stat().st_size
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).symlink_to(path)
    return size
