"""What the reference model can refuse; each error knows the exit code that the command line documents."""


class ModelError(ValueError):
    """A variant, option or checkpoint that cannot be used; one line: what, expected, got, what to do."""

    exit_code = 2


class UnknownVariantError(ModelError):
    """A name that no variant and no alias has."""


class CheckpointError(ModelError):
    """A checkpoint that is unreadable, unsafe, or does not fit the model."""


class MissingPackageError(RuntimeError):
    """An optional package that this machine lacks."""

    exit_code = 3
