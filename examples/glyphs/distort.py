"""Characters on bad paper in bad light: masters → small RGB pictures, by integers alone, the same on every machine.

No float and no function of libm is used, and of numpy's generators only bounded integers: the bytes depend on nothing
but the masters and the seed.
"""

import numpy as np

MASTER_SIDE = 64
SIDE = 48  # of the pictures, in pixels; the middle of a master
FULL = 256  # strength of the held-out pictures
ONE = 1 << 12  # fixed point of the affine map
CELL = 8  # side in pixels of the cells between whose corners the paper's stains run linearly

Array = np.ndarray


def distort(masters: Array, rng: np.random.Generator, strength: int = FULL) -> Array:
    """Return pictures (B, 48, 48, 3) uint8, RGB, of masters (B, 64, 64) uint8, where 255 is ink.

    Each is turned, slanted, scaled and shifted, blurred, printed in some ink on some paper with stains, lit from one
    side, and has noise; all of it in proportion to `strength`, 0 to 256.
    """
    ink = _blur(_warp(masters, rng, strength), rng, strength)
    return _noise(_light(_print(ink, rng, strength), rng, strength), rng, strength)


def _spread(rng: np.random.Generator, most: int, strength: int, shape: tuple[int, ...]) -> Array:
    """Return int32 within ±`most`·`strength`/256."""
    most = most * strength // FULL
    return rng.integers(-most, most + 1, shape, dtype=np.int32)


def _warp(masters: Array, rng: np.random.Generator, strength: int) -> Array:
    """Return (B, 48, 48) int32, 0 to 255: masters by an affine map about their middle, bilinear.

    Lengths are counted in half pixels, so that the middle between two pixels is an integer.
    """
    count = len(masters)
    across, down = _spread(rng, ONE // 4, strength, (2, count, 1, 1)) + ONE * 5 // 4
    turn = _spread(rng, ONE // 4, strength, (count, 1, 1))
    slant = _spread(rng, ONE // 4, strength, (count, 1, 1))
    shift_x, shift_y = _spread(rng, 6 * ONE, strength, (2, count, 1, 1))
    x = np.arange(1 - SIDE, SIDE, 2, dtype=np.int32)
    y = x[:, None]
    middle = (MASTER_SIDE - 1) * ONE
    from_x = np.clip(across * x + (turn + slant) * y + shift_x + middle, 0, 2 * ONE * (MASTER_SIDE - 1) - 1)
    from_y = np.clip(down * y - turn * x + shift_y + middle, 0, 2 * ONE * (MASTER_SIDE - 1) - 1)
    column, row = from_x // (2 * ONE), from_y // (2 * ONE)
    right, below = from_x % (2 * ONE) >> 5, from_y % (2 * ONE) >> 5  # 0 to 255
    flat = masters.reshape(-1)
    first = np.arange(count, dtype=np.int32)[:, None, None] * MASTER_SIDE**2 + row * MASTER_SIDE + column
    upper = flat[first] * (256 - right) + flat[first + 1] * right
    first += MASTER_SIDE
    lower = flat[first] * (256 - right) + flat[first + 1] * right
    return (upper * (256 - below) + lower * below) >> 16


def _blur(ink: Array, rng: np.random.Generator, strength: int) -> Array:
    """Return (B, 48, 48) int32: three times a part of the way to the binomial mean of 3×3."""
    for _ in range(3):
        part = rng.integers(0, strength + 1, (len(ink), 1, 1), dtype=np.int32)
        wide = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
        rows = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
        mean = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) >> 4
        ink = ink + ((mean - ink) * part >> 8)
    return ink


def _print(ink: Array, rng: np.random.Generator, strength: int) -> Array:
    """Return (B, 48, 48, 3) int32: in dark ink on light paper with stains, each of some colour."""
    count = len(ink)
    paper = 180 + _spread(rng, 50, strength, (count, 1, 1, 1)) + _spread(rng, 15, strength, (count, 1, 1, 3))
    colour = 80 + _spread(rng, 50, strength, (count, 1, 1, 1)) + _spread(rng, 15, strength, (count, 1, 1, 3))
    ground = paper + _stains(rng, strength, count)[..., None]
    return ground + ((colour - ground) * ink[..., None] >> 8)


def _stains(rng: np.random.Generator, strength: int, count: int) -> Array:
    """Return (B, 48, 48) int32 within ±48: noise at the corners of cells, linear in between."""
    corners = SIDE // CELL + 1
    stains = _spread(rng, 48, strength, (count, corners, corners))
    along = np.arange(CELL, dtype=np.int32)
    rows = stains[:, :-1, None] * (CELL - along[:, None]) + stains[:, 1:, None] * along[:, None]
    rows = rows.reshape(count, SIDE, corners)
    return (rows[:, :, :-1, None] * (CELL - along) + rows[:, :, 1:, None] * along).reshape(count, SIDE, SIDE) >> 6


def _light(pictures: Array, rng: np.random.Generator, strength: int) -> Array:
    """Return (B, 48, 48, 3) int32, lighter on one side than on the other, by up to a half."""
    x = np.arange(1 - SIDE, SIDE, 2, dtype=np.int32)
    across, down = _spread(rng, 64, strength, (2, len(pictures), 1, 1))
    light = 256 + (across * x + down * x[:, None]) // SIDE + _spread(rng, 32, strength, (len(pictures), 1, 1))
    return pictures * light[..., None] >> 8


def _noise(pictures: Array, rng: np.random.Generator, strength: int) -> Array:
    """Return (B, 48, 48, 3) uint8 with a grain that is nearly Gaussian, of standard deviation up to 23."""
    grain = rng.integers(0, 256, (4, *pictures.shape[:3]), dtype=np.uint8).sum(0, dtype=np.int32) - 510
    most = rng.integers(0, 40 * strength // FULL + 1, (len(pictures), 1, 1), dtype=np.int32)
    return np.clip(pictures + (grain * most >> 8)[..., None], 0, 255).astype(np.uint8)
