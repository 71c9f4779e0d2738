"""What the runtime can refuse; each error knows the exit code that the command line documents."""


class InputError(ValueError):
    """A file, folder or option that cannot be used; one line: what, expected, got, what to do."""

    exit_code = 2


class MissingError(RuntimeError):
    """Something that this machine lacks: a package, a provider, a GPU, room on the disk."""

    exit_code = 3


class DeviceError(RuntimeError):
    """TensorRT or CUDA refused on this machine: out of memory, a plan of another version, a driver too old."""

    exit_code = 3


class OutOfBoundsError(RuntimeError):
    """It ran, and the answer is no: numbers outside their bound, or logits that are not finite."""

    exit_code = 1
