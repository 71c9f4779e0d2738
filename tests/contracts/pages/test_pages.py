"""Every block of the pages is run, and what comes out is what they show, figures aside. `-m tests.contracts.pages --write` mends them."""

import re

import pytest
import typer

from tests.commands.command_line import without_gpu
from tests.contracts.pages.blocks import PageError, difference, fitted, masked
from tests.contracts.pages.findings import findings_of, pages, rewritten
from tests.contracts.pages.workshop import Reader, Workshop
from tests.places import ROOT

pytestmark = without_gpu


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("cache"))
    yield reader
    reader.nursery.close()


@pytest.fixture(scope="module")
def workshop_for(opened, digits, tmp_path_factory):
    """A function: name → the folder of the page of that name, with what README.md left."""
    root = tmp_path_factory.mktemp("pages")
    first, *_ = pages()

    def make(name):
        left = None if name == first.name else readme(root / first.name)
        return Workshop(root / name, opened, digits, left)

    def readme(folder):
        if not folder.is_dir():
            list(findings_of(first, Workshop(folder, opened, digits, None)))
        return folder

    return make


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_gives_what_the_page_shows(page, workshop_for):
    findings = list(findings_of(page, workshop_for(str(page.relative_to(ROOT)).replace("/", "-"))))
    assert [f"{each.place}\n{each.fault}" for each in findings if each.fault] == []


def planted(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def faults(page, workshop):
    return [finding.fault for finding in findings_of(page, workshop) if finding.fault]


@pytest.fixture
def empty_workshop(opened, digits, tmp_path):
    return Workshop(tmp_path / "workshop", opened, digits, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```console\n$ echo 12 images in 3.4 s\n13 images in 5 s\n```\n", None),
        ("```console\n$ echo 12 images\n13 pictures\n```\n", "13 pictures"),
        ("```console\n$ echo 12 images\n```\n", "12 images"),
        ("```console\n$ printf 'a\\nb\\nc\\n'\na\n…\nc\n```\n", None),
        ("```console\n$ printf 'a\\nb\\nc\\n'\na\n…\nd\n```\n", "d"),
        ("```console\n$ echo a long line\na long …\n```\n", "cuts whole lines only"),
        ("```console\n$ false\n```\n", "exit code 1"),
        ("```console\n$ false\n$ echo $?\n1\n```\n", None),
        ("```console\n$ false\n$ echo $?\n2\n```\n", "the exit code is 1"),
        ("```console\n$ deepvit --nonsense\n```\n", "exit code 2"),
        ("```console gpu\n$ deepvit models\n```\n", "exit code 0, expected 3"),
        ("```console yours\n$ deepvit eval model.onnx --imagenet /data\n```\n", None),
        ("```console yours\n$ deepvit eval model.onnx --imagnet /data\n```\n", "No such option"),
        ("```console yours\n$ deepvit models\n```\n", "exit code 0, expected 2"),
        ("```console make\n$ make nothing-of-that-name\n```\n", "No rule"),
        ("```console make\n$ make test\nall is well\n```\n", "did not come out here"),
        ("```console install\n$ pip install '.[cpu]'   # why\n```\n", None),
        ("```console install\n$ pip install '.[cpus]'\n```\n", "no such extras"),
        ("```console install\n$ pip install deepvit\n```\n", "no package of pyproject.toml"),
        ("```console configure\n$ cmake -S runtime/cpp -DDEEPVIT_NONSENSE=1\n```\n", "no such options"),
        ("```console served\n$ python examples/triton/none.py\n```\n", "no such file"),
        ("```console docker\n$ docker build --file examples/docker/none .\n```\n", "no such file"),
        ("```console docker\n$ docker run 'image\n```\n", "unexpected EOF"),
        ("```python\nprint(6 * 7)\n```\n\n```text\n41\n```\n", None),
        ("```python\nprint('six')\n```\n\n```text\nfive\n```\n", "five"),
        ("```python\nimport nothing_of_that_name\n```\n", "ModuleNotFoundError"),
        ("```cpp\n  options.onnxruntime_library = argv[1];\n```\n", None),
        ("```cpp\n  options.onnxruntime_library = argv[7];\n```\n", "no such lines"),
    ],
)
def test_what_a_block_must_be(text, expected, empty_workshop, tmp_path):
    found = faults(planted(tmp_path, text), empty_workshop)
    assert len(found) == (expected is not None), found
    assert expected is None or expected in found[0]


def test_json_is_held_against_its_file(empty_workshop, tmp_path):
    (empty_workshop.folder / "a.json").write_text('{"a": 1, "b": [true]}')
    shown = '```json a.json\n{{\n  "a": 2,\n{}\n}}\n```\n'
    assert faults(planted(tmp_path, shown.format('  "b": [\n    true\n  ]')), empty_workshop) == []
    assert faults(planted(tmp_path, shown.format("…")), empty_workshop) == []
    assert len(faults(planted(tmp_path, shown.format('  "b": true')), empty_workshop)) == 1


@pytest.mark.parametrize(
    "text", ["```bash\nls\n```\n", "```\nls\n```\n", "```console gpus\n$ ls\n```\n", "a\n\n    ls\n", "```console\nls\n```\n", "```text\n"]
)  # fmt: skip
def test_a_block_that_nothing_runs_is_refused(text, empty_workshop, tmp_path):
    with pytest.raises(PageError, match=r"page.md:\d"):
        list(findings_of(planted(tmp_path, text), empty_workshop))


def test_outputs_are_rewritten_and_cut_where_the_page_cuts(empty_workshop, tmp_path):
    page = planted(tmp_path, "a\n```console\n$ printf 'a\\nb\\nc\\nd\\n'\nx\n…\ny\n$ echo e\n```\nb\n```text\nx\n```\n")
    findings = list(findings_of(page, empty_workshop))
    mended = rewritten(page, findings)
    assert mended == "a\n```console\n$ printf 'a\\nb\\nc\\nd\\n'\na\n…\nd\n$ echo e\ne\n```\nb\n```text\nx\n```\n"
    page.write_text(mended)
    assert faults(page, empty_workshop) == []


def test_a_middle_of_a_long_output_stays_where_it_was():
    got = ["head", *(f"row {number}" for number in range(5)), "best: a", *("row x" for _ in range(5)), "end"]
    assert fitted(("head", "…", "best: b", "…", "end"), got) == ["head", "…", "row 0", "…", "end"]
    assert fitted(("head", "…", "best: a", "…", "end"), got) == ["head", "…", "best: a", "…", "end"]
    assert difference(("head", "…", "best: a", "…", "end"), got) is None
    assert difference(("head", "…", "best: a", "…"), got) is None


def test_figures_are_masked_and_words_are_not():
    one = "wrote a/model.onnx, 1.7 MB, SHA-256 00f228a2b86167e2: 98.83%  (−0.71 to 1e-05), 2,048 images"
    other = "wrote a/model.onnx, 912 kB, SHA-256 e1d57e816c8954ce: 7.1% (−3 to 2.5), 12 images"
    assert masked(one) == masked(other)
    assert masked(one) != masked(other.replace("wrote", "kept"))
    assert masked("INT8 98%") != masked("FP8 98%")


LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
FOREIGN = {  # flags of other programs
    "--write", "--requests", "--require-hashes", "--no-deps", "--requirement", "--no-build-isolation", "--editable",
    "--build", "--install", "--prefix", "--test-dir", "--file", "--build-arg", "--tag", "--rm", "--gpus", "--volume",
    "--publish", "--onnxruntime", "--top", "--predict", "--entrypoint-num-gpus", "--models", "--only", "--depths",
}  # fmt: skip


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_options_exist(page):
    from deepvit.commands.app import app

    for target, anchor in LINK.findall(page.read_text()):
        if not target.startswith("https://"):
            path = page.parent / target if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), (target, anchor)
    commands = typer.main.get_command(app).commands.values()
    known = {flag for command in commands for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    strange = (
        set(FLAG.findall(page.read_text()))
        - known
        - FOREIGN
        - {"--help", "--log-json", "--debug", "--version", "--install-completion"}
    )
    assert strange == set()
