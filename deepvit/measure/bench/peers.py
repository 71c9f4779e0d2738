"""What an exported model is measured against: PyTorch, torch.compile, the plain ONNX export, OpenVINO."""

import dataclasses
import enum
import importlib.util
import logging
from typing import TYPE_CHECKING, Literal

from deepvit.runtime.artifact.manifest import ANY_BATCH, BatchRange, Precision
from deepvit.runtime.errors import PYTORCH, InputError, MissingError
from deepvit.runtime.openvino.library import OPENVINO, has_bfloat16, is_installed
from deepvit.runtime.ort.providers import CPU
from deepvit.runtime.session import Session

from ..options import WeightOptions
from .plain import plain_export, plain_int8

if TYPE_CHECKING:
    import torch

    from deepvit.model.load import LoadedModel
    from deepvit.model.network import DeepViT

logger = logging.getLogger(__name__)


class Peer(enum.Enum):
    """Other ways to run the same model."""

    PYTORCH = "pytorch"  # eager
    PYTORCH_FP16 = "pytorch-fp16"
    COMPILE = "compile"  # torch.compile
    COMPILE_FP16 = "compile-fp16"
    FUSED_FP16 = "fused-fp16"  # that with re-attention as one kernel; on a GPU, and only where asked for
    PLAIN_ONNX = "plain-onnx"  # torch.onnx.export of the original's order of operations, in ONNX Runtime
    OPENVINO = "openvino"  # the same file, in FP32
    OPENVINO_BF16 = "openvino-bf16"  # which is its default where the processor has it
    PLAIN_INT8 = "plain-int8"  # the same file quantised by ONNX Runtime's own tool; where asked for
    OPENVINO_INT8 = "openvino-int8"  # that one; likewise


NAMES = {
    Peer.PYTORCH: "PyTorch eager",
    Peer.PYTORCH_FP16: "PyTorch eager FP16",
    Peer.COMPILE: "torch.compile",
    Peer.COMPILE_FP16: "torch.compile FP16",
    Peer.FUSED_FP16: "torch.compile FP16, fused re-attention",
    Peer.PLAIN_ONNX: "plain ONNX export",
    Peer.OPENVINO: "OpenVINO FP32, plain export",
    Peer.OPENVINO_BF16: "OpenVINO BF16, plain export",
    Peer.PLAIN_INT8: "plain ONNX export, INT8",
    Peer.OPENVINO_INT8: "OpenVINO INT8, plain export",
}

# Of what OpenVINO runs: what floats are computed in.
ARITHMETIC = {
    Peer.OPENVINO: Precision.FP32,
    Peer.OPENVINO_BF16: Precision.BF16,
    Peer.OPENVINO_INT8: Precision.FP32,
}
IN_INT8 = (Peer.PLAIN_INT8, Peer.OPENVINO_INT8)


def peers_here() -> tuple[Peer, ...]:
    """Return the peers that make sense on this machine: none without PyTorch, which makes all of them."""
    if importlib.util.find_spec("torch") is None:
        logger.warning("timed without peers, which need PyTorch: pip install %s; or give ‹peers› none", PYTORCH)
        return ()
    import torch

    has_gpu = torch.cuda.is_available()
    on_device = (Peer.PYTORCH, Peer.PYTORCH_FP16, Peer.COMPILE_FP16) if has_gpu else (Peer.PYTORCH, Peer.COMPILE)
    if has_gpu or not is_installed():
        return (*on_device, Peer.PLAIN_ONNX)
    in_bfloat16 = (Peer.OPENVINO_BF16,) if has_bfloat16() else ()
    return (*on_device, Peer.PLAIN_ONNX, Peer.OPENVINO, *in_bfloat16)


def peers_from(text: str | None) -> tuple[Peer, ...]:
    """Parse --peers: all that run here where None, or names by commas, or none.

    Raises:
        InputError: An unknown name.
    """
    if text is None:
        return peers_here()
    if text == "none":
        return ()
    peer_by_name = {peer.value: peer for peer in Peer}
    names = [name.strip() for name in text.split(",")]
    unknown = sorted(set(names) - set(peer_by_name))
    if unknown:
        raise InputError(f"‹peers› {', '.join(unknown)}: expected none, or of {', '.join(peer_by_name)}")
    return tuple(peer_by_name[name] for name in dict.fromkeys(names))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeerOpener:
    """Opens a peer in another process."""

    peer: Peer
    variant: str
    weights: WeightOptions
    provider: str = "cpu"
    threads: int | None = None
    batch: BatchRange = ANY_BATCH

    def __call__(self) -> Session:
        loaded = self.weights.load(self.variant)
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.peer in ARITHMETIC or self.peer in (Peer.PLAIN_ONNX, Peer.PLAIN_INT8):
            return self._onnx_session(loaded)
        return self._torch_session(loaded)

    def _onnx_session(self, loaded: "LoadedModel") -> Session:
        content, name = plain_export(loaded), NAMES[self.peer]
        if self.peer in IN_INT8:
            content = plain_int8(content)
        if self.peer in ARITHMETIC:
            from deepvit.runtime.openvino.session import OpenVinoSession

            arithmetic = ARITHMETIC[self.peer]
            return OpenVinoSession(content, name=name, arithmetic=arithmetic, threads=self.threads, batch=self.batch)
        from deepvit.runtime.ort.session import OnnxRuntimeSession

        provider = CPU if self.provider.lower() == OPENVINO else self.provider  # OpenVINO is a peer itself
        return OnnxRuntimeSession(content, name=name, provider=provider, threads=self.threads, batch=self.batch)

    def _torch_session(self, loaded: "LoadedModel") -> Session:
        import torch

        from ..torch_session import TorchSession

        module = loaded.module
        shape, classes = (module.in_chans, module.img_size, module.img_size), module.num_classes
        runnable = self._runnable(module)
        if self.peer in (Peer.COMPILE, Peer.COMPILE_FP16, Peer.FUSED_FP16):
            logging.getLogger("torch").setLevel(logging.ERROR)
            runnable = torch.compile(runnable)  # type: ignore[assignment]
        dtype: Literal["float32", "float16"] = (
            "float16" if self.peer in (Peer.PYTORCH_FP16, Peer.COMPILE_FP16, Peer.FUSED_FP16) else "float32"
        )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return TorchSession(runnable, shape, device, self.batch.max, classes=classes, dtype=dtype)

    def _runnable(self, module: "DeepViT") -> "torch.nn.Module":
        import torch

        if self.peer is not Peer.FUSED_FP16:
            from deepvit.model.rewrites.original_order import original_style

            return original_style(module).eval()
        if not torch.cuda.is_available():
            raise MissingError(f"‹peers› {self.peer.value} needs a CUDA GPU, and PyTorch {torch.__version__} sees none")
        from deepvit.model.fused.module import fuse_reattention

        return fuse_reattention(module)
