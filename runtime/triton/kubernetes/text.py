"""Manifests as YAML; the only file that imports the library for it."""

from typing import Any

from ...errors import needed_for

Object = dict[str, Any]  # of the Kubernetes API, as JSON would have it


def yaml_text(value: Object, comment: str = "") -> str:
    """Return a manifest as YAML, its fields in the order given, every one written out.

    Raises:
        MissingError: PyYAML is not installed.
    """
    with needed_for("a manifest for Kubernetes"):
        import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]  # the library has no types
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's
            return True  # what two places share is written in both

    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + str(yaml.dump(value, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120))
