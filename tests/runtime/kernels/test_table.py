"""What the table refuses, and what a launch is told."""

import pytest

from deepvit.model.variants import VARIANTS
from deepvit.runtime.kernels.table import KERNELS, Kernel, Number

GOOD = {"number": Number.FP16, "heads": 12, "width": 32, "tokens": 197, "rows": 16}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"heads": 17}, "17 heads, expected 1 to 16"),
        ({"width": 33}, "head width 33, expected 8, 16 … 56"),
        ({"tokens": 585}, "585 tokens, expected 1 to 584"),
        ({"rows": 24}, "24 rows, expected 16 or 32"),
        ({"keys": 200}, "200 keys, expected 16 … 208"),
        ({"heads": 0, "rows": 8}, "0 heads, expected 1 to 16; 8 rows, expected 16 or 32"),
    ],
)
def test_what_no_kernel_serves_is_refused(wrong, told):
    with pytest.raises(ValueError, match=f"^{told}$"):
        Kernel(**GOOD | wrong)


def test_a_launch():
    kernel = Kernel(**GOOD)
    assert kernel.definition == "REATTENTION(reattention_fp16_h12_d32_t197_k208_r16, Fp16, 12, 32, 197, 208, 16)"
    assert (kernel.threads, kernel.grid(200, 64)) == (384, (13, 64, 1))


@pytest.mark.parametrize(("tokens", "keys"), [(26, 32), (197, 208), (208, 208), (209, 112), (577, 112), (584, 112)])
def test_keys_of_a_pass(tokens, keys):
    assert Kernel(**GOOD | {"tokens": tokens}).keys == keys


def test_every_variant_that_mixes_its_maps_has_kernels():
    for variant in VARIANTS.values():
        of = variant.architecture
        if not of.reattention_blocks:
            continue
        width = of.head_dim + -of.head_dim % 8
        tokens = (variant.img_size // of.patch_size) ** 2 + 1
        found = [each for each in KERNELS if (each.heads, each.width, each.tokens) == (of.num_heads, width, tokens)]
        assert {(each.number, each.rows) for each in found} == {(n, rows) for n in Number for rows in (16, 32)}, variant


def test_names_are_unique():
    assert len({each.name for each in KERNELS}) == len(KERNELS)
