"""The manifests as files: what a cluster would refuse of them, what they allow a pod, and whom they name."""

import json
import re
import shutil

import pytest

from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.files.staging import require_output
from deepvit.runtime.triton import layout
from deepvit.runtime.triton.flags import HOST_CODE, RULES, server_flags
from deepvit.runtime.triton.kubernetes.cluster import cluster_name
from deepvit.runtime.triton.options import TritonBackend
from deepvit.runtime.triton.releases import TAGS, image_for
from tests.runtime.triton.manifests import faults_of, objects_of

IMAGE = "registry.example/triton:1"  # TensorRT 11.4 of the engine is in none that is known


@pytest.fixture(scope="module")
def without_engine(deployed, cpp_data, tmp_path_factory):
    """Repository and manifests of an artifact without an engine."""
    options = {"backends": (TritonBackend.PYTHON,), "name": "Small_model.1"}
    return deployed(cpp_data / "artifacts" / "small", tmp_path_factory.mktemp("cpu"), **options)


@pytest.fixture(scope="module")
def with_engine(deployed, cpp_data, tmp_path_factory):
    """Those of one with an engine, whose plan no TensorRT wrote."""
    return deployed(cpp_data / "artifacts" / "engine", tmp_path_factory.mktemp("gpu"), image=IMAGE)


@pytest.fixture(params=["without_engine", "with_engine"])
def manifests(request):
    return request.getfixturevalue(request.param)[1]


def pods_of(folder):
    """The pod of the Deployment, and that of KServe with its container's name and storage as KServe fills them in."""
    objects = objects_of(folder)
    predictor = objects["kserve/inferenceservice.yaml"]["spec"]["predictor"]
    return objects["deployment.yaml"]["spec"]["template"]["spec"], predictor | {"containers": [predictor["model"]]}


def test_a_cluster_takes_them(manifests):
    assert faults_of(manifests) == []


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("deployment.yaml", "readinessProbe", "readynessProbe"),
        ("deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: 'yes'"),
        ("autoscaler.yaml", "averageValue", "avarageValue"),
        ("network.yaml", "policyTypes", "policyType"),
        ("loader.yaml", "claimName", "claim"),
        ("kustomization.yaml", "resources", "resource"),
        ("kserve/inferenceservice.yaml", "storageUri", "storageURI"),
        ("kserve/inferenceservice.yaml", "modelFormat", "modelFromat"),
        ("kserve/inferenceservice.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("kserve/inferenceservice.yaml", "maxReplicas: 8", "maxReplicas: many"),
    ],
)
def test_a_typo_is_found(with_engine, tmp_path, file, right, wrong):
    shutil.copytree(with_engine[1], tmp_path / "manifests")
    path = tmp_path / "manifests" / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))
    faults = faults_of(tmp_path / "manifests")
    assert faults
    assert all(fault.startswith(f"{file}: ") for fault in faults)


def test_the_objects_name_one_another(manifests):
    objects = objects_of(manifests)
    assert set(objects["kustomization.yaml"]["resources"]) == {
        name for name in objects if name not in ("kustomization.yaml", "loader.yaml", "prometheus-adapter.yaml")
    } - {"kserve/kustomization.yaml", "kserve/inferenceservice.yaml"}
    deployment = objects["deployment.yaml"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spec = {name: objects[f"{name}.yaml"]["spec"] for name in ("service", "autoscaler", "disruption", "network")}
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        spec["service"]["selector"],
        spec["disruption"]["selector"]["matchLabels"],
        spec["network"]["podSelector"]["matchLabels"],
    ):
        assert selector == labels
    assert "labels" not in objects["loader.yaml"]["metadata"]  # it is no server
    assert spec["autoscaler"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (rule,) = objects["prometheus-adapter.yaml"]["rules"]["custom"]
    assert spec["autoscaler"]["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in spec["service"]["ports"]} == ports
    claim = objects["claim.yaml"]["metadata"]["name"]
    assert (
        objects["kserve/inferenceservice.yaml"]["spec"]["predictor"]["model"]["storageUri"]
        == f"pvc://{claim}/repository"
    )
    for pod in (deployment["spec"]["template"]["spec"], objects["loader.yaml"]["spec"]):
        (volume,) = [each for each in pod["volumes"] if each["name"] == "models"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim


def test_a_pod_has_no_right_that_it_does_not_need(manifests):
    for pod in pods_of(manifests):
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        assert pod["automountServiceAccountToken"] is False
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
        for container in (*pod["containers"], *pod["initContainers"]):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounts.keys() <= volumes.keys()
            assert all("emptyDir" in volumes[name] for name, mount in mounts.items() if not mount.get("readOnly"))


def test_a_gpu_is_asked_for_where_an_engine_needs_it(without_engine, with_engine):
    for (_, folder), has_engine in ((without_engine, False), (with_engine, True)):
        for pod in pods_of(folder):
            (container,) = pod["containers"]
            assert ("nvidia.com/gpu" in container["resources"]["limits"]) is has_engine
            assert ("tolerations" in pod) is has_engine
    (term,) = pods_of(with_engine[1])[0]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [rule["values"] for rule in term["preference"]["matchExpressions"]] == [["9"], ["0"]]


def test_the_flags_and_packages_are_those_of_the_repository(without_engine):
    """Word by word what its README.md says for a container."""
    repository, folder = without_engine
    readme = (repository / layout.GUIDE).read_text().replace("\\\n", " ")
    (line,) = re.findall(r"exec (tritonserver --model-repository=/models .*?)'", readme)
    deployed, kserve = pods_of(folder)
    assert deployed["containers"][0]["args"] == line.split()
    assert kserve["containers"][0]["args"] == list(RULES)  # behind those of KServe's own runtime
    wanted = (repository / layout.REQUIREMENTS).read_text().split()
    assert kserve["initContainers"][0]["args"][-len(wanted) :] == wanted
    assert deployed["initContainers"][0]["args"][-2:] == ["--requirement", f"/models/{layout.REQUIREMENTS}"]


def test_pods_are_replaced_by_those_of_another_repository(without_engine, deployed, cpp_data, tmp_path):
    options = {"backends": (TritonBackend.PYTHON,), "name": "Small_model.1"}
    _, other = deployed(cpp_data / "artifacts" / "small", tmp_path, labels=[f"x{n}" for n in range(10)], **options)
    revisions = [
        objects_of(each)["deployment.yaml"]["spec"]["template"]["metadata"]["annotations"]["repository-sha256"]
        for each in (without_engine[1], other)
    ]
    assert revisions[0] != revisions[1]


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [("deepvit_32", "deepvit-32"), ("Small_model.1", "small-model-1"), ("8bit", "model-8bit"), ("a_", "a")],
)
def test_names_are_those_of_kubernetes(ensemble, expected):
    assert cluster_name(ensemble) == expected
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", expected)


def test_a_name_that_is_too_long_is_refused():
    assert cluster_name("a" * 50) == "a" * 50
    with pytest.raises(InputError, match="‹name› .* is too long for Kubernetes"):
        cluster_name("a" * 51)


def test_the_image_is_by_the_engine_s_tensorrt(cpp_data):
    engine = open_artifact(cpp_data / "artifacts" / "engine").manifest.engines[0]

    def image(version, **fields):
        return image_for(engine.model_copy(update={"version": version, **fields}))

    assert image("10.13.3.9") == "nvcr.io/nvidia/tritonserver:25.10-py3"
    assert image("10.14.1.48.post1") == "nvcr.io/nvidia/tritonserver:25.12-py3"
    assert image("10.13.9.1", version_compatible=True) == "nvcr.io/nvidia/tritonserver:25.12-py3"  # the next one
    assert image_for(None).rsplit(":", 1)[1] == max(TAGS.values())
    for fields in ({"version": "10.12.0.36"}, {"version": engine.version, "version_compatible": True}):
        with pytest.raises(
            InputError, match=r"carries TensorRT 1[\d.]+, which wrote engine.plan .*‹image›, as in \S+:YY"
        ):
            image(**fields)
    flags = server_flags(engine.model_copy(update={"version_compatible": True}), "/models")
    assert flags == [*RULES, HOST_CODE]


def test_what_cannot_be_written_is_refused_before_the_repository_is(deployed, cpp_data, tmp_path):
    engine, small = (cpp_data / "artifacts" / name for name in ("engine", "small"))
    with pytest.raises(InputError, match="no Triton container is known here"):
        deployed(engine, tmp_path / "a")
    (tmp_path / "b" / "manifests").mkdir(parents=True)
    (tmp_path / "b" / "manifests" / "kustomization.yaml").write_text("of somebody else")
    with pytest.raises(InputError, match="manifests is a folder of something else; name another one with ‹kubernetes›"):
        deployed(small, tmp_path / "b", backends=(TritonBackend.PYTHON,))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "b/manifests/kustomization.yaml"
    ]


def test_the_record_says_whose_they_are_and_lets_them_be_replaced(without_engine):
    repository, folder = without_engine
    record = json.loads((folder / "kubernetes.json").read_text())
    assert (record["name"], record["image"]) == ("small-model-1", image_for(None))
    assert len(record["repository_sha256"]) == 64
    require_output(folder, marker="kubernetes.json", option=None)
    readme = (folder / layout.GUIDE).read_text()
    assert f"kubectl cp ../{repository.name}/. small-model-1-loader:/volume/repository" in readme
