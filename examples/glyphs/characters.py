"""Which characters: those that are common in China, Taiwan and Japan alike, the simplest first."""

COUNT = 1000
NOT_IN_ALL_FACES = "盈"  # of those that would be among them; draw.py looks


def common_characters() -> tuple[str, ...]:
    """Return the characters that are among the common ones of GB 2312 (1980), JIS X 0208 and Big5, in Big5's order.

    Each of these standards has a first level for everyday use, in rows of 94 or 157: GB 2312's rows 16 to 55,
    JIS X 0208's 16 to 47, Big5's from A4 to C6 7E. Big5 orders it by the number of strokes.
    """
    chinese = {_decoded("gb2312", 0xA0 + row, 0xA0 + cell) for row in range(16, 56) for cell in range(1, 95)}
    japanese = {_decoded("euc_jp", 0xA0 + row, 0xA0 + cell) for row in range(16, 48) for cell in range(1, 95)}
    cells = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    taiwanese = [
        _decoded("big5", row, cell)
        for row in range(0xA4, 0xC7)
        for cell in cells
        if (row, cell) <= (0xC6, 0x7E)
    ]  # fmt: skip
    return tuple(each for each in taiwanese if each and each in chinese and each in japanese)


def characters() -> tuple[str, ...]:
    """Return the first thousand that every face has, in the order of their code points: the classes."""
    every = [each for each in common_characters() if each not in NOT_IN_ALL_FACES]
    return tuple(sorted(every[:COUNT]))


def synset(character: str) -> str:
    """Return the name of its folder, like a synset's of ImageNet: n and the code point in eight digits."""
    return f"n{ord(character):08}"


def _decoded(codec: str, row: int, cell: int) -> str:
    return bytes((row, cell)).decode(codec, errors="ignore")
