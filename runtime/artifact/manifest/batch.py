"""The batch sizes of an artifact."""

import pydantic

from .fields import BatchSize, Record


class BatchRange(Record):
    """Batch sizes that the artifact takes, and the one that engines are tuned for."""

    min: BatchSize
    opt: BatchSize
    max: BatchSize

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "BatchRange":
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"expected min ≤ opt ≤ max, got {self}")
        return self

    def __str__(self) -> str:
        return f"{self.min}:{self.opt}:{self.max}"

    @property
    def steps(self) -> list[int]:
        """The few sizes that stand for all, each for those down to the one before: powers of two, `opt` and `max`.

        The C++ runtime has the same rule (cpp/src/artifact/manifest.cpp); cpp/tests/data/batch_rows_cases.json holds
        both to it.

        What is made for a size, a CUDA graph or kernels, is so made a handful of times, whatever sizes come.
        """
        powers = (1 << power for power in range(self.max.bit_length()))
        return sorted({size for size in powers if self.min <= size} | {self.opt, self.max})


ANY_BATCH = BatchRange(min=1, opt=8, max=64)  # where no manifest says otherwise
