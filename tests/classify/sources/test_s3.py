"""A server of S3 on this machine: its images are classified, and the keys to it are written nowhere.

Needs `pip install s3fs 'moto[server]'`, which the other tests do not.
"""

import json
import subprocess
import sys

import pytest

from tests.classify.red_images import red_folder
from tests.places import ROOT

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")
KEY, SECRET = "AKIAPLANTEDKEY000000", "wJalrXUtnFEMIplantedSECRET"
CLASSIFY = """
import json, sys
from tests.classify.red_images import red_classifier
rows = red_classifier().classify(sys.argv[1:])
print(json.dumps({row.path: row.error or row.label for row in rows}))
"""


@pytest.fixture
def bucket(monkeypatch):
    """The bucket photos of a server that this process, and those that it starts, find in their environment."""
    import boto3

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    yield client
    server.stop()


def test_a_bucket_and_signed_addresses(bucket, tmp_path):
    expected = {}
    for path, label in red_folder(tmp_path / "d", 10).items():
        name = path.removeprefix(f"{tmp_path}/d/")
        bucket.upload_file(path, "photos", f"below/{name}")
        expected[f"s3://photos/below/{name}"] = label
    signed = bucket.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "below/0/003.png"})
    refused = signed.replace("003.png", "nothing.png")
    (tmp_path / "list.txt").write_text(f"{signed}\n{refused}\n")
    done = subprocess.run(
        [sys.executable, "-c", CLASSIFY, "s3://photos/below", tmp_path / "list.txt", "s3://photos/**/1/*.png"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    (right, wrong) = [name for name in found if name.startswith("http://")]
    assert (found.pop(right), found.pop(wrong)) == (3, "the file cannot be read: there is no such file")
    assert found == expected
    signature = signed.partition("Signature=")[2][:12]
    assert [secret for secret in (KEY, SECRET, signature) if secret in done.stdout + done.stderr] == []
