"""Ask a Triton server for the class of image files: python examples/triton/classify.py HOST:PORT MODEL IMAGE …

Needs `pip install 'tritonclient[http]'`. The server decodes and preprocesses: the file's bytes are sent as they are.
"""

import pathlib
import sys

import numpy as np
import tritonclient.http as triton


def classify(client: triton.InferenceServerClient, model: str, image: bytes) -> tuple[str, float]:
    """Return the name and the probability of the most probable class."""
    encoded = triton.InferInput("image", [1, len(image)], "UINT8")
    encoded.set_data_from_numpy(np.frombuffer(image, np.uint8)[None])
    wanted = [triton.InferRequestedOutput("logits", class_count=1), triton.InferRequestedOutput("probabilities")]
    answer = client.infer(model, [encoded], outputs=wanted)
    _logit, _index, name = answer.as_numpy("logits")[0, 0].decode().split(":", 2)
    return name, float(answer.as_numpy("probabilities")[0, 0])


def main(address: str, model: str, *images: str) -> None:
    client = triton.InferenceServerClient(address)
    for image in images:
        name, probability = classify(client, model, pathlib.Path(image).read_bytes())
        print(f"{image}: {name}, {probability:.1%}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
