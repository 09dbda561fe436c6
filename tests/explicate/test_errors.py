"""What a user can mend is one line on stderr and exit code 2, told before anything is loaded or written; a limit is exit code 4."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evals.results import LeakAudit
from explicate import cli

KEY = "sk-test-0123456789abcdef"
NOTICE = re.compile(r"[a-z][a-z ]*\S*: [\d,]+/[\d,]+.*|loading \S+|\d+ sites[:,] .*")
"""Progress and the forecast."""


@dataclass
class Outcome:
    code: int
    out: str
    errors: list[str]
    """Lines of stderr that are neither progress nor forecast."""
    notices: list[str]


Explicate = Callable[..., Outcome]


@pytest.fixture
def explicate(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explicate:
    """explicate("label", ...) runs the command line in this process."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["explicate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.strip()]
        notices = [line for line in lines if NOTICE.fullmatch(line)]
        return Outcome(int(stop.value.code or 0), out, [line for line in lines if line not in notices], notices)

    return run


@pytest.fixture
def label(explicate: Explicate, workplace: Path, tiny_corpus: Path, tiny_checkpoint: Callable[[str], Path]) -> Explicate:
    """label("--option", value, ...) is a small run without any language model into `out`, but for the options given."""

    def run(*options: object, subject: object = None) -> Outcome:
        given: dict[object, object] = dict(zip(options[::2], options[1::2], strict=True))
        usual: dict[object, object] = {
            "--sites": "L0.mlp.3",
            "--corpus": tiny_corpus,
            "--tokens": 9000,
            "--explainer": "template",
            "--simulator": "lexical",
            "--out": workplace / "out",
        }
        pairs: dict[object, object] = {**usual, **given}
        return explicate(
            "label",
            subject or tiny_checkpoint("llama"),
            "--json",
            *(part for pair in pairs.items() if pair[1] is not None for part in pair),
        )

    return run


def check(outcome: Outcome, *said: str, code: int = 2) -> None:
    """One line, that says all of this; nothing on stdout, and no results."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert len(outcome.errors) == 1, outcome.errors
    assert outcome.errors[0].startswith("error: " if code == 2 else "stopped: ")
    for text in said:
        assert text in outcome.errors[0]


# ---- known before anything is loaded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--explainer", "gpt-5"), ("--explainer 'gpt-5'", "template", "local:NAME", "openai:MODEL")),
        (("--simulator", "lexcal"), ("--simulator 'lexcal'", "lexical", "local:NAME", "echo:MODEL")),
        (("--explainer", "opnai:gpt-5"), ("'opnai:gpt-5'", "Did you mean 'openai:gpt-5'?")),
        (("--explainer", "openai:gpt-5-mini"), ("'openai:gpt-5-mini' needs a key", "OPENAI_API_KEY", "--base-url", "local:")),
        (("--simulator", "openai:gpt-4o"), ("'openai:gpt-4o' needs a key", "OPENAI_API_KEY")),
        (("--simulator", "local:no-such-model"), ("'no-such-model'", "qwen2.5-coder-0.5b")),
        (("--explainer", "scripted:none.json"), ("'none.json'", "write a JSON list")),
        (("--style", "poem"), ("--style 'poem'", "'marked-text'", "'token-activation'")),
        (("--polarity", "up"), ("--polarity 'up'", "dominant")),
        (("--sites", "L0.mlp"), ("'L0.mlp' is not a site", "L7.mlp.1306-")),
        (("--sites", "L0.mlp.1", "--sample", 3), ("--sites", "--sample", "one or the other")),
        (("--sites", ","), ("--sites names no neuron", "L7.mlp.1306")),
        (("--sites", ""), ("--sites names no neuron", "leave it out")),
        (("--polarity", "-"), ("--polarity '-'", "--sites", "L7.mlp.1306-")),
        (("--polarity", "both"), ("--polarity 'both'", "drawn")),
        (("--seed", -1), ("--seed", "greater than or equal to 0", "--help")),
        (("--seed", 10**20), ("--seed", "4294967295", "--help")),
        (("--base-url", "http://127.0.0.1:1/v1"), ("--base-url 'http://127.0.0.1:1/v1'", "'template' and 'lexical'", "leave it out")),
        (("--explainer", "openai:m", "--base-url", "localhost"), ("'localhost' is not a base URL", "http://127.0.0.1:8000/v1")),
        (("--tokens", 0), ("--tokens", "greater than or equal to 1", "--help")),
        (("--excerpt-tokens", 12), ("--excerpt-tokens", "17", "--help")),
        (("--max-calls", -1), ("--max-calls", "0", "--help")),
        (("--max-usd", 1, "--explainer", "openai:m", "--base-url", "http://127.0.0.1:1/v1"), ("price of 'openai:m'", "--price")),
    ],
)
def test_options_that_cannot_be_are_told_before_the_subject_is_loaded(
    label: Explicate, workplace: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...], said: tuple[str, ...]
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the subject was loaded")

    monkeypatch.setattr("analyzers.subject.Subject.load", loaded)
    outcome = label(*options)
    check(outcome, *said)
    assert outcome.notices == []
    assert not (workplace / "out").exists()


def test_an_unknown_command_or_option_is_one_line(explicate: Explicate) -> None:
    check(explicate("lable"), "'lable'", "explicate --help")
    check(explicate("label", "x", "--site", "L0.mlp.1"), "--site", "--sites", "explicate label --help")
    check(explicate("selftest", "--simulator", "lexical", "--base-url", "http://127.0.0.1:1/v1"), "--base-url", "'lexical'")
    check(explicate("report", "nowhere"), "'nowhere' is no run folder", "--out")


def test_a_seed_that_is_none_is_told_by_every_command(explicate: Explicate) -> None:
    for command in (("sample", "x"), ("selftest", "--simulator", "lexical")):
        for seed in (-1, 2**32):
            check(explicate(*command, "--seed", seed), "--seed", "--help")


def test_a_name_that_is_too_long_for_a_file_is_told_and_nothing_is_made(label: Explicate, explicate: Explicate, workplace: Path) -> None:
    long = "a" * 300
    before = set(workplace.iterdir())
    check(label("--out", long), f"{long}/manifest.json'", "File name too long")
    check(label("--corpus", long), f"'{long}'", "File name too long")
    check(label("--out", None, subject=long), f"'{long}'", "File name too long")
    check(explicate("sample", long), f"'{long}'", "File name too long")
    check(explicate("report", long), f"{long}/manifest.json'", "File name too long")
    assert {path for path in workplace.iterdir() if path.name != "store"} <= before


def test_an_error_that_nobody_foresaw_names_the_file_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, said in (
        (PermissionError(13, "Permission denied", "a file"), "error: 'a file' cannot be read or written: Permission denied"),
        (ConnectionResetError("the server \x1b[2Jhung up"), "error: the server \\u001b[2Jhung up"),
        (TimeoutError(), "error: TimeoutError"),
    ):

        def body(error: OSError = error) -> None:
            raise error

        with pytest.raises(SystemExit) as stop:
            cli.run(body)
        (line,) = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2
        assert line.startswith(said)


# ---- the subject


def test_an_unknown_model_is_told(label: Explicate, workplace: Path) -> None:
    check(label(subject="smolm2-135m"), "'smolm2-135m'", "did you mean 'smollm2-135m'", "qwen2.5-coder-0.5b")
    check(label(subject="./nowhere"), "'./nowhere' is not a folder", "smollm2-135m")
    (workplace / "empty").mkdir()
    check(label(subject=workplace / "empty"), "is not a model's folder", "config.json")
    check(label("--dtype", "int3"), "'int3'", "float32")
    check(label("--device", "tpu"), "'tpu'", "cpu")
    assert not (workplace / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sites", "L3.mlp.0"), ("'L3.mlp.0'", "layers 0-2")),
        (("--sites", "L1.mlp.48-"), ("'L1.mlp.48-'", "neurons 0-47", "L1.mlp.47")),
        (("--sites", None, "--layers", "2-5"), ("--layers '2-5'", "0-2")),
        (("--sites", None, "--sample", 1000), ("--sample 1000", "144 neurons")),
    ],
)
def test_a_site_out_of_range_is_told_before_sampling(
    label: Explicate, workplace: Path, options: tuple[object, ...], said: tuple[str, ...]
) -> None:
    check(label(*options), *said)
    assert not (workplace / "out").exists()
    assert not (workplace / "store" / "passes").exists()


# ---- the corpus


def test_a_corpus_that_is_of_no_use_is_told(label: Explicate, workplace: Path) -> None:
    def corpus(name: str, content: bytes) -> Path:
        path = workplace / name
        path.write_bytes(content)
        return path

    check(label("--corpus", corpus("empty.txt", b"")), "empty.txt", "is empty", ".jsonl")
    check(label("--corpus", corpus("blank.jsonl", b"\n\n")), "blank.jsonl", "is empty")
    check(label("--corpus", corpus("picture.txt", b"\x89PNG\r\n\x1a\n\x00\x00")), "picture.txt", "binary", "UTF-8")
    check(label("--corpus", corpus("zero.txt", b"some text\0")), "zero.txt", "binary")
    check(label("--corpus", corpus("short.txt", b"too short")), "short.txt", "32 tokens, the length of one excerpt", "give longer")
    few = b"".join(json.dumps({"text": f"{n} " * 100}).encode() + b"\n" for n in range(3))
    check(label("--corpus", corpus("few.jsonl", few)), "few.jsonl", "split four ways")
    check(label("--corpus", corpus("bad.jsonl", b"{")), "bad.jsonl' line 1 is not JSON", "one JSON object a line")
    check(label("--corpus", workplace / "none.txt"), "none.txt", "wikipedia-sample")
    check(label("--corpus", corpus("book.pdf", b"x")), "book.pdf", ".jsonl")
    assert not (workplace / "out").exists()
    left = [path for path in (workplace / "store" / "passes").rglob("*") if path.name != "blocks"]
    assert left == []


# ---- the endpoint


@pytest.fixture
def remote(label: Explicate, server: Any) -> Explicate:
    return lambda *options: label("--explainer", "openai:m", "--base-url", server.url, *options)


def test_a_wrong_key_is_told_and_not_shown(remote: Explicate, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda body: server.error(401, f"Incorrect API key provided: {KEY}")
    outcome = remote()
    check(outcome, "'openai:m'", "(401)", "OPENAI_API_KEY")
    assert KEY not in outcome.errors[0]
    assert not (workplace / "out").exists()
    assert len(server.bodies) == 1


def test_an_endpoint_that_is_not_there_is_told(label: Explicate, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.retry._backoff", lambda state: 0.0)
    outcome = label("--explainer", "openai:m", "--base-url", "http://127.0.0.1:9/v1")
    check(outcome, "'openai:m' at http://127.0.0.1:9/v1 cannot be reached", "run the same command again")
    server.answer = lambda body: server.error(404, "no such model")
    check(label("--explainer", "openai:m", "--base-url", server.url), "is not there (404", "--base-url", "/v1")
    assert not (workplace / "out").exists()


def test_an_endpoint_without_the_log_probabilities_of_a_prompt_is_told(label: Explicate, server: Any, workplace: Path) -> None:
    def bare(body: dict[str, Any]) -> Any:
        return {**server.echo(body), "choices": [{"index": 0, "finish_reason": "length", "text": " a", "logprobs": None}]}

    server.answer = bare
    check(label("--simulator", "echo:m", "--base-url", server.url), "'echo:m'", "log-probabilities", "--simulator local:MODEL")
    server.answer = lambda body: server.echo(body, shift=1)
    check(label("--simulator", "echo:n", "--base-url", server.url), "'echo:n'", "shifted", "--simulator local:MODEL")
    check(label("--explainer", "echo:n", "--base-url", server.url), "'echo:n'", "--simulator local:MODEL")
    assert not (workplace / "out").exists()


def test_a_key_that_is_refused_later_leaves_no_results(remote: Explicate, server: Any, workplace: Path) -> None:
    def answer(body: dict[str, Any]) -> Any:
        return server.error(401, "expired") if "What are the marked tokens?" in str(body) else server.labeller(body)

    server.answer = answer
    check(remote(), "(401)")
    assert (workplace / "out" / "manifest.json").exists()
    assert not (workplace / "out" / "results.json").exists()
    server.answer = server.labeller
    assert remote().code == 0


# ---- budgets, run folders, disks


def test_a_budget_of_zero_is_a_mistake_and_nothing_is_asked(remote: Explicate, server: Any, workplace: Path) -> None:
    server.answer = server.labeller
    for limit in ("--max-calls", "--max-tokens", "--max-usd"):
        check(remote(limit, 0), f"{limit} 0 allows nothing", "leave it out")
    assert server.bodies == []
    assert not (workplace / "out").exists()


def test_a_budget_that_is_used_up_stops_with_its_own_code(label: Explicate, workplace: Path, tiny_llm: Path) -> None:
    check(label("--simulator", f"local:{tiny_llm}", "--max-calls", 1), "--max-calls 1 is reached", "raise the limit", code=4)
    assert not (workplace / "out" / "results.json").exists()


def test_a_run_folder_of_another_run_is_refused_and_left_as_it_is(label: Explicate, workplace: Path) -> None:
    assert label().code == 0
    out = workplace / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    check(label("--seed", 5), "seed 0", "now it is 5", "--out")
    check(label("--sites", "L0.mlp.4"), "L0.mlp.3", "L0.mlp.4", "--out")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    (out / "manifest.json").write_text(json.dumps({**manifest, "format": 99}), encoding="utf-8")
    check(label(), "layout version 99", "this program writes 1", "--out")
    (out / "manifest.json").write_text("{", encoding="utf-8")
    check(label(), "manifest.json' is damaged", "--out")
    (workplace / "mine").mkdir()
    (workplace / "mine" / "thesis.tex").touch()
    check(label("--out", workplace / "mine"), "holds other files", "--out")
    (workplace / "file").touch()
    check(label("--out", workplace / "file"), "is no folder", "--out")
    check(label("--out", workplace / "file" / "below"), "is no folder", "--out")


def test_a_run_that_is_not_over_has_no_report(explicate: Explicate, workplace: Path) -> None:
    (workplace / "begun").mkdir()
    (workplace / "begun" / "manifest.json").write_text("{}", encoding="utf-8")
    check(explicate("report", workplace / "begun"), "has no results.json", "did not end", "the same command")
    check(explicate("report", workplace / "begun", "--leak-audit", "--json"), "excerpts.parquet")


def test_a_run_folder_that_is_damaged_is_told_and_left_as_it_is(label: Explicate, explicate: Explicate, workplace: Path) -> None:
    assert label().code == 0
    out = workplace / "out"
    whole = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    results = json.loads(whole[out / "results.json"])
    (out / "results.json").write_text(json.dumps({**results, "usd": "much"}), encoding="utf-8")
    check(explicate("report", out), "results.json' is damaged (usd: ", "run the command that made the run again")
    for content, said in ((b"[]", "no JSON object"), (b"\xff", "is damaged"), (None, "has no results.json")):
        damage(out / "results.json", content)
        check(explicate("report", out), said, "--out")
    damage(out / "results.json", whole[out / "results.json"])
    for name in ("excerpts.parquet", "simulations.parquet"):
        other = whole[out / "scores.parquet"]
        for content in (None, b"", b"PAR1", whole[out / name][:-9], whole[out / name][:40] + bytes(40) + whole[out / name][80:], other):
            damage(out / name, content)
            check(explicate("report", out), f"{name}' cannot be read (", "run the command that made the run again")
        damage(out / name, whole[out / name])
    damage(out / "excerpts.parquet", other)
    check(explicate("report", out, "--leak-audit"), "excerpts.parquet' cannot be read (", "run the command that made the run again")
    damage(out / "excerpts.parquet", whole[out / "excerpts.parquet"])
    damage(out / "transcript.jsonl", b'{"key": "\xff"}\n')
    check(explicate("report", out, "--leak-audit"), "transcript.jsonl' line 1 is no whole record")
    check(label(), "transcript.jsonl' is damaged", "--out")
    (out / "transcript.jsonl").unlink()
    for content, said in ((b"[]", "no JSON object"), (b'{"format": 1, "command": "label", "config": []}', "was begun with")):
        damage(out / "manifest.json", content)
        check(label(), str(out), said, "--out")
    damage(out / "manifest.json", whole[out / "manifest.json"])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == whole
    assert explicate("report", out).code == 0


def damage(path: Path, content: bytes | None) -> None:
    """Put this into the file, or remove it."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def test_a_report_of_what_is_no_folder_is_told(explicate: Explicate, workplace: Path) -> None:
    (workplace / "file").touch()
    check(explicate("report", "file"), "'file' is no run folder", "--out")
    check(explicate("report", "file", "--leak-audit"), "excerpts.parquet' cannot be read (there is no such file)")


def test_a_failed_leak_audit_is_no_success(label: Explicate, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaky = LeakAudit(passed=False, checked=3, leaks=[{"site": "L0.mlp.3"}], largest_overlap=0.9)
    monkeypatch.setattr("evals.label_artefacts.audit", lambda _: leaky)
    outcome = label()
    assert outcome.code == 2
    assert json.loads(outcome.out)["leak_audit"]["passed"] is False
    assert (workplace / "out" / "report.html").exists()


PREPARE = """
import torch, transformers, pyarrow.parquet, scipy.stats, safetensors.torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
import evals.label, explicate.cli, explicate.report, explicate.running
"""


@pytest.mark.parametrize("room", [2_000, 30_000, 150_000])
def test_a_full_disk_is_told_and_the_command_goes_on_with_room(
    forks: Any, label: Explicate, workplace: Path, tiny_corpus: Path, tiny_checkpoint: Callable[[str], Path], room: int
) -> None:
    """Stands in for a full disk: no file may grow beyond so many bytes."""
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); import explicate.cli; explicate.cli.main()"
    command = ["label", str(tiny_checkpoint("llama")), "--sites", "L0.mlp.3", "--corpus", str(tiny_corpus)]
    command += ["--tokens", "9000", "--explainer", "template", "--simulator", "lexical", "--out", str(workplace / "out"), "--json"]
    done = forks.start(program, *command, folder=workplace, prepare=PREPARE)
    code, out, said = done.wait(), done.out.read_text("utf-8"), done.err.read_text("utf-8")
    errors = [line for line in said.splitlines() if line.strip() and not NOTICE.fullmatch(line)]
    check(Outcome(code, out, errors, []))
    assert re.search(r"room|space", errors[0])
    assert not (workplace / "out" / "results.json").exists()
    assert not list(workplace.rglob("*.part*"))
    assert label().code == 0
