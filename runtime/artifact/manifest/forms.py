"""Which precision, format, library or form: what a manifest says by one word of a list."""

import enum


class Precision(enum.Enum):
    """The type of the graph's arithmetic; of INT8 and FP8 that of the linears, the rest is FP16."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


class Grid(enum.Enum):
    """A number format of eight bits that quantised tensors are stored in."""

    INT8 = "int8"  # −127 … 127, zero point 0: the only integers that TensorRT takes
    UINT8 = "uint8"  # 0 … 255 with a zero point: what ONNX Runtime's CPU kernels run fastest
    FP8 = "fp8"  # E4M3: ±448, three bits of mantissa


class Split(enum.Enum):
    """Where images of a dataset come from."""

    TRAIN = "train"
    VAL = "val"
    FOLDER = "folder"  # a folder of images that is neither
    BUNDLED = "bundled"  # the photographs that come with the export


class Backend(enum.Enum):
    """Which library builds and runs an engine; the two cannot load each other's plans."""

    TENSORRT = "tensorrt"  # data-centre and RTX cards; builds on the GPU that it builds for
    TENSORRT_RTX = "tensorrt-rtx"  # RTX cards; builds without a GPU, compiles kernels where the plan is loaded

    @property
    def plan(self) -> str:
        """The plan's file name in an artifact."""
        return "engine.plan" if self is Backend.TENSORRT else "engine.rtx.plan"


class MixForm(enum.Enum):
    """How Θ'·A + b' is written in the graph."""

    CONV = "conv"  # 1×1 convolution over heads, as in the original
    MATMUL = "matmul"  # H×H matrix times (H, N·N), then + b'
    MATMUL_VALUE = "matmul-value"  # the same without b'; its share N·b'·mean(v) is added after ·v


class QkvForm(enum.Enum):
    """How q, k and v are computed."""

    FUSED = "fused"  # one GEMM of width 3·C
    SPLIT = "split"  # three GEMMs, which spares the copies that split the fused one


class ChooseForm(enum.Enum):
    """Who chooses the form that a graph is written in, where several give the same answers."""

    RULES = "rules"  # fixed ones, for each target
    LISTING = "listing"  # the fewest bytes through memory, by the kernels that TensorRT-RTX compiles
    TIMING = "timing"  # the fastest in ONNX Runtime on this machine's CPU


class ReattentionForm(enum.Enum):
    """How re-attention, all between qkv and the projection, is written in the graph."""

    UNFUSED = "unfused"  # as separate operators, of which every runtime has its own
    FUSED = "fused"  # as one operator of ours, for a plugin with a kernel of its own; others run its body


class InputForm(enum.Enum):
    """What the graph takes."""

    FLOAT32 = "float32"  # (B, 3, H, W), preprocessed
    UINT8 = "uint8"  # (B, H, W, 3), resized and cropped; normalised inside the graph


class Level(enum.Enum):
    """How far ONNX Runtime rewrites a graph before it runs it, by its own names; each does what those before it do."""

    DISABLE = "disable"
    BASIC = "basic"
    EXTENDED = "extended"  # fuses operators, Q/DQ nodes among them
    LAYOUT = "layout"
    ALL = "all"  # its default


class HardwareCompatibility(enum.Enum):
    """On which GPUs an engine runs, as TensorRT's levels have it."""

    NONE = "none"  # those of its compute capability, best the very model
    SAME_COMPUTE_CAPABILITY = "same-compute-capability"  # every model of its compute capability
    AMPERE_PLUS = "ampere-plus"  # compute capability 8.0 and newer
