"""Products of eight bits that saturate on a processor are told of, where a model has any."""

import pytest

from deepvit.measure.doctor import examine
from deepvit.runtime import open_session
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.session import saturation

HASWELL = "processor\t: 0\nflags\t\t: fpu avx avx2 fma bmi2\n"


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """What Linux says of an x86 processor."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(saturation, "CPUINFO", path)
    monkeypatch.setattr(saturation.platform, "machine", lambda: "x86_64")
    return path


@pytest.mark.parametrize("flag", sorted(saturation.EXACT))
def test_a_processor_with_vnni_does_not_saturate(cpuinfo, flag):
    cpuinfo.write_text(HASWELL)
    assert saturation.saturates()
    cpuinfo.write_text(HASWELL.replace("fma", flag))
    assert not saturation.saturates()


@pytest.mark.parametrize("text", ["", "Features\t: fp asimd asimddp\n", None])
def test_who_does_not_say_is_not_accused(cpuinfo, monkeypatch, text):
    if text is not None:
        cpuinfo.write_text(text)
    assert not saturation.saturates()
    cpuinfo.write_text(HASWELL)
    monkeypatch.setattr(saturation.platform, "machine", lambda: "aarch64")
    assert not saturation.saturates()


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8, Precision.FP8], ids=lambda each: each.value)
@pytest.mark.parametrize("provider", [None, "cpu", "openvino"])
def test_who_opens_int8_there_is_told(artifacts_by_precision, cpuinfo, caplog, precision, provider):
    cpuinfo.write_text(HASWELL)
    open_session(artifacts_by_precision[precision], provider).close()
    assert ("has no VNNI" in caplog.text) == (precision is Precision.INT8)
    caplog.clear()
    cpuinfo.write_text(HASWELL.replace("fma", "avx_vnni"))
    open_session(artifacts_by_precision[precision], provider).close()
    assert caplog.text == ""


def test_doctor_says_it(cpuinfo):
    cpuinfo.write_text(HASWELL)
    (row,) = [finding for finding in examine() if finding.ability == "run INT8 exactly on the CPU"]
    assert (row.works, "no VNNI" in row.detail) == (False, True)
