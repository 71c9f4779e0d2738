"""What an export does, stage by stage, in the words that it reports and that a plan lists."""

from deepvit.runtime.artifact.manifest import Backend, ChooseForm, Precision

FOLDING = "folding in float64"
BATCHES = "checking batch sizes"
FUSING = "comparing fused re-attention with separate operators"
WRITING = "writing the artifact"
TRYING = "trying plain sessions of ONNX Runtime"


def loading(variant: str) -> str:
    return f"loading {variant}"


def choosing_form(by: ChooseForm) -> str:
    return f"choosing the graph's form by {by.value}"


def tracing(opset: int) -> str:
    return f"exporting ONNX (opset {opset})"


def comparing(images: int) -> str:
    return f"comparing ONNX with PyTorch on {images} images"


def casting(precision: Precision) -> str:
    return f"casting to {precision.value}"


def searching(budget: str) -> str:
    return f"searching the fewest linears to keep for {budget}"


def checking(images: int) -> str:
    return f"checking on {images} held-out images"


def proving(precision: Precision) -> str:
    return f"comparing {precision.value} with float32"


def building(backend: Backend) -> str:
    return f"building the {backend.value} engine"
