"""Draws every character in every face: the masters that are distorted."""

import hashlib
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .characters import characters
from .distort import MASTER_SIDE
from .faces import BELOW, Face

EM = 46  # size of a face in pixels of a master
NOT_A_CHARACTER = "\uffff"


def draw_masters(fonts: pathlib.Path, faces: tuple[Face, ...], text: tuple[str, ...] | None = None) -> np.ndarray:
    """Return masters (faces, characters, 64, 64) uint8, 255 where ink is; `text` are the characters, else all.

    Raises:
        FileNotFoundError: No such font below `fonts`.
        ValueError: A font of another version, or one that lacks a character.
    """
    return np.stack([_draw_face(fonts, face, text or characters()) for face in faces])


def _draw_face(fonts: pathlib.Path, face: Face, text: tuple[str, ...]) -> np.ndarray:
    path = fonts / BELOW / face.file
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != face.sha256:
        raise ValueError(f"{path} has SHA-256 {got}, expected {face.sha256} as in Debian 12's {face.package}")
    font = ImageFont.truetype(path, EM, layout_engine=ImageFont.Layout.BASIC)
    nothing = _draw(font, NOT_A_CHARACTER)
    drawn = np.stack([_draw(font, each) for each in text])
    blank = ~drawn.any((1, 2)) | (drawn == nothing).all((1, 2))
    if blank.any():
        lacking = "".join(each for each, is_blank in zip(text, blank, strict=True) if is_blank)
        raise ValueError(f"{path} lacks {lacking}")
    return drawn


def _draw(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """Return (64, 64) uint8, the middle of what is black in the middle."""
    left, top, right, bottom = font.getbbox(character)
    master = Image.new("L", (MASTER_SIDE, MASTER_SIDE))
    place = ((MASTER_SIDE - left - right) // 2, (MASTER_SIDE - top - bottom) // 2)
    ImageDraw.Draw(master).text(place, character, fill=255, font=font)
    return np.asarray(master)
