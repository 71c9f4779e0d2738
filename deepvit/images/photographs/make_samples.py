"""Make the sample images from those that scikit-image ships: python make_samples.py."""

import pathlib

import skimage
from PIL import Image

NAMES = ("astronaut", "chelsea", "coffee", "grass", "hubble_deep_field", "motorcycle_left", "retina", "rocket")
SHORTER_SIDE = 400
HERE = pathlib.Path(__file__).parent


def save(image: Image.Image, name: str) -> None:
    """Reduce `image` to the shorter side and write it beside this file."""
    scale = SHORTER_SIDE / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.LANCZOS).save(HERE / f"{name}.jpg", quality=85)


def main() -> None:
    for name in NAMES:
        (path,) = pathlib.Path(skimage.__file__).parent.glob(f"data/{name}.*")
        image = Image.open(path).convert("RGB")
        width, height = image.size
        save(image, name)
        save(image.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4)), f"{name}-detail")


if __name__ == "__main__":
    main()
