"""What all tests share: one thread, tiny random models built in code, and a small OpenAI-compatible server on the loopback interface,
whose answers a test decides and whose requests it can read."""

import copy
import gc
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

# Read by torch when it is first imported. Tiny models are done sooner by one thread than by two, which wait for one another; what waits
# sleeps, so that a busy machine is not kept busier.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TEXT = """The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour. In the summer of
1927 the old bridge was carried away by a flood, and for three years the people of both banks crossed by boat. A new bridge, built of
stone and iron, was opened in 1930; it stands to this day. Visitors who walk along the water in the evening may see herons, otters and,
with a little luck, a kingfisher. There are markets on Mondays and Thursdays, where farmers sell cheese, apples, honey and wool. The
school, which has about 240 pupils, teaches music and the history of the valley. "We have never wanted to live anywhere else," said one of
the teachers, who had been there for 36 years. Others have left for the cities and have come back again when their children were born.
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def pytest_collection_finish() -> None:
    """Thousands of tests and what they import stay to the end: no collection of garbage needs to look at them again."""
    gc.collect()
    gc.freeze()


@cache
def tiny_tokenizer() -> "PreTrainedTokenizerFast":
    """Byte-level BPE with about 500 tokens: every byte, every digit by itself, tabs and newlines by themselves, <s> and </s>."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(r"[\t\n]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    build: Any = PreTrainedTokenizerFast
    wrapped: PreTrainedTokenizerFast = build(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", chat_template=CHAT_TEMPLATE
    )
    return wrapped


ENCODERS = ("bert", "roberta", "albert", "distilbert")


def tiny_config(family: str, **changes: object) -> "PreTrainedConfig":
    """Three blocks of 32 dimensions with 4 heads of the family, and 48 neurons a block where the family lets one choose."""
    import transformers

    families: dict[str, tuple[str, dict[str, object]]] = {
        "llama": ("LlamaConfig", {"intermediate_size": 48, "num_key_value_heads": 2}),
        "mistral": ("MistralConfig", {"intermediate_size": 48, "num_key_value_heads": 2, "sliding_window": 64}),
        "qwen2": ("Qwen2Config", {"intermediate_size": 48, "num_key_value_heads": 2}),
        "qwen3": ("Qwen3Config", {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 16}),
        "gemma2": ("Gemma2Config", {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64}),
        "phi": ("PhiConfig", {"intermediate_size": 48}),
        "gpt2": ("GPT2Config", {"n_inner": 48}),
        "gpt_neox": ("GPTNeoXConfig", {"intermediate_size": 48}),
        "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
        "bloom": ("BloomConfig", {}),
        "falcon": ("FalconConfig", {"ffn_hidden_size": 48}),
        "gptj": ("GPTJConfig", {"n_inner": 48, "rotary_dim": 4}),
        "gpt_neo": ("GPTNeoConfig", {"intermediate_size": 48, "attention_types": [[["global", "local", "global"], 1]]}),
        "mixtral": ("MixtralConfig", {"intermediate_size": 48, "num_key_value_heads": 2, "num_local_experts": 4}),
        "qwen2_moe": (
            "Qwen2MoeConfig",
            {"num_key_value_heads": 2, "num_experts": 4, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40},
        ),
        "bert": ("BertConfig", {"intermediate_size": 48}),
        "roberta": ("RobertaConfig", {"intermediate_size": 48}),
        "albert": ("AlbertConfig", {"intermediate_size": 48, "embedding_size": 16}),
        "distilbert": ("DistilBertConfig", {"hidden_dim": 48}),
    }
    class_name, own = families[family]
    tokenizer = tiny_tokenizer()
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 1024,
        "initializer_range": 0.2,
        "init_std": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config: PreTrainedConfig = getattr(transformers, class_name)(**{**shared, **own, **changes})
    return config


def random_model(config: "PreTrainedConfig") -> Any:
    """The model of a configuration, the same weights each time: a causal one, or of an encoder's family a masked one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    automatic: Any = AutoModelForMaskedLM if config.model_type in ENCODERS else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return automatic.from_config(config)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_checkpoint("llama") is the folder of a tiny random model of that family with a small real tokenizer, built once a session.

    Families: llama, mistral, qwen2, qwen3, gemma2, phi, gpt2, gpt_neox, opt, bloom, falcon, gptj, gpt_neo; mixtral and qwen2_moe, which
    are mixtures of experts; the encoders bert, roberta, albert and distilbert. Hidden size 32, 3 blocks, 48 neurons a block (128 for
    bloom), up to 1024 positions.
    """

    @cache
    def build(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        model = random_model(tiny_config(family))
        model.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        return folder

    return build


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., tuple[Any, Any]]:
    """tiny_model("llama", intermediate_size=32) is a fresh tiny model, with changes to its configuration, and a fresh tokenizer."""

    def build(family: str, **changes: object) -> tuple[Any, Any]:
        return random_model(tiny_config(family, **changes)), copy.deepcopy(tiny_tokenizer())

    return build


@cache
def _masked_tokenizer(family: str) -> "PreTrainedTokenizerFast":
    """Of roberta byte-level BPE whose <mask> takes the spaces before it, else word pieces in lower case; both put their marks around."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    build: Any = PreTrainedTokenizerFast
    if family == "roberta":
        marks = ["<s>", "<pad>", "</s>", "<unk>"]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            [TEXT], trainers.BpeTrainer(vocab_size=500, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
        )
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
        names = {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        }
        return build(tokenizer_object=tokenizer, mask_token=AddedToken("<mask>", lstrip=True, special=True), **names)  # type: ignore[no-any-return]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=500, special_tokens=marks, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    return build(tokenizer_object=tokenizer, **names)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def masked_model() -> Callable[..., tuple[Any, Any]]:
    """masked_model("bert") is a fresh tiny encoder with its head for masked language, and a tokenizer of its family's kind with a mask."""

    def build(family: str, **changes: object) -> tuple[Any, Any]:
        tokenizer = copy.deepcopy(_masked_tokenizer(family))
        own = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": None}
        return random_model(tiny_config(family, **{**own, **changes})), tokenizer

    return build


@pytest.fixture(scope="session")
def tiny_llm(tiny_model: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model that prompts of thousands of tokens fit into: a simulator `local:FOLDER`."""
    folder = tmp_path_factory.mktemp("llm")
    for part in tiny_model("llama", max_position_embeddings=16_384):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def quick_selftest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The selftest that a run makes of its simulator is of one planted neuron."""
    monkeypatch.setattr("evals.instrument.QUICK_NEURONS", {"word": 1})
    monkeypatch.setattr("evals.instrument.QUICK_FALSE", 1)
    monkeypatch.setattr("evals.instrument.QUICK_SENTENCES", 1)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder in which everything is kept, with neither a key nor a server nor the Hub in reach."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", f"sqlite:///{(tmp_path / 'store' / 'kept' / 'results.sqlite').as_posix()}")
    for name, where in {"ASSETS": "assets", "PASSES": "passes", "REPLIES": "kept/replies.sqlite"}.items():
        monkeypatch.setenv(f"EXPLICATE_{name}", str(tmp_path / "store" / where))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "store" / "config"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_corpus(tmp_path: Path) -> Path:
    """JSON lines: 48 documents of some 200 tokens of the tiny tokenizer, of known words in random order."""
    draw, words = random.Random(0), TEXT.split()
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": f"d{number}", "text": " ".join(draw.choices(words, k=90))} for number in range(48)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ---- a model whose facts are written by hand


@dataclass(frozen=True, eq=False)
class PlantedFacts:
    """A Llama of four blocks in which the MLP of block `stored` writes what it knows at a subject's last token, and the attention of block
    `moved` brings it to the last token. All other parts add nothing."""

    model: Any
    tokenizer: Any
    facts: list[dict[str, str]]
    """`prompt`, `subject`, `target`; the last token of every subject is of no other one."""
    stored: int = 1
    moved: int = 2


PLANTED_SUBJECTS = ("bridge", "school", "river", "harbour", "town", "hills")
PLANTED_TARGETS = ("cheese", "honey", "wool", "music", "apples", "iron")


@pytest.fixture(scope="session")
def planted_facts() -> PlantedFacts:
    """See PlantedFacts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = copy.deepcopy(tiny_tokenizer())
    words = [tokenizer.encode(f" old {word}", add_special_tokens=False) for word in PLANTED_SUBJECTS]
    ends = [word[-1] for word in words]
    targets = [tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in PLANTED_TARGETS]
    assert len(set(ends)) == len(ends)
    assert len(set(targets)) == len(targets)
    tokens, many, head = len(tokenizer), len(ends), 8 * ((len(tokenizer) + 2 * len(ends) + 2) // 32 + 1)
    always, key, known = tokens, tokens + 1, slice(tokens + 2, tokens + 2 + many)
    answer = slice(known.stop, known.stop + many)
    # The slowest pair of a head hardly turns with the position.
    config = LlamaConfig(
        vocab_size=tokens,
        hidden_size=4 * head,
        intermediate_size=many,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 1e12},
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).eval()
    still = head // 2 - 1
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.zero_()
        model.model.embed_tokens.weight[:, :tokens] = torch.eye(tokens)
        model.model.embed_tokens.weight[:, always] = 1
        mlp = model.model.layers[1].mlp
        mlp.gate_proj.weight[range(many), ends] = 1
        mlp.up_proj.weight[range(many), ends] = 1
        # A norm makes of (1, 1, 0, ...) numbers of the order of the root of half the width.
        mlp.down_proj.weight[known] = torch.eye(many) / 40
        mlp.down_proj.weight[key] = 1 / 40
        attention = model.model.layers[2].self_attn
        attention.q_proj.weight[still, always] = 3
        attention.k_proj.weight[still, key] = 3
        attention.v_proj.weight[:many, known] = torch.eye(many)
        attention.o_proj.weight[answer, :many] = torch.eye(many) / 16
        model.lm_head.weight[targets, range(answer.start, answer.stop)] = 1
    facts = [
        {"prompt": f"Visitors say the old {subject} was in the", "subject": f"old {subject}", "target": f" {target}"}
        for subject, target in zip(PLANTED_SUBJECTS, PLANTED_TARGETS, strict=True)
    ]
    return PlantedFacts(model, tokenizer, facts)


# ---- processes that tests start and kill

PATIENCE_S = 600
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


class Fork:
    """A process with an end: its number `pid`, and the files `out` and `err` with what it has printed."""

    def __init__(self, ask: Callable[[Mapping[str, Any]], Any], order: Mapping[str, Any]) -> None:
        self._ask, self._code = ask, None
        self.out, self.err = Path(order["out"]), Path(order["err"])
        self.pid: int = ask(order)

    def poll(self) -> int | None:
        """The exit code, negative the signal that killed it; None while it runs."""
        if self._code is None:
            self._code = self._ask({"ended": self.pid})
        return self._code

    def wait(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"it does not end: {self.err.read_text('utf-8')}"
            time.sleep(0.002)
        return code

    def send(self, number: int) -> None:
        """A signal, if it has not been waited for: until then the number is no other process's."""
        if self._code is None:
            os.kill(self.pid, number)

    def kill(self) -> int:
        self.send(signal.SIGKILL)
        return self.wait()


class Forks:
    """Starts programs as processes of their own, without the seconds that it takes to import what they import: see warm.py."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "EXPLICATE_"))}
        # -P: beside warm.py are folders with the names of packages.
        called = [sys.executable, "-P", str(Path(__file__).with_name("warm.py")), str(folder)]
        self._process = subprocess.Popen(
            called, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean | QUIET | {"HF_HUB_OFFLINE": "1"}
        )

    def _ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(
        self,
        program: str | Path,
        *arguments: str,
        folder: Path,
        prepare: str = "",
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> Fork:
        """Run Python code, or a file of it, in this current folder.

        prepare: code that is run once and for all, and leaves nothing but what is imported, or is costly and always the same.
        environment: in place of this process's, but for threads. log: the file that both outputs are added to.
        """
        parts = [self._folder / f"{name}-{os.urandom(8).hex()}" for name in ("out", "err")]
        order = {
            "program": program if isinstance(program, str) else program.read_text("utf-8"),
            "name": "program" if isinstance(program, str) else str(program),
            "argv": arguments,
            "folder": str(folder),
            "prepare": prepare,
            "environment": {**(os.environ if environment is None else environment), **QUIET},
            "out": str(log or parts[0]),
            "err": str(log or parts[1]),
        }
        return Fork(self._ask, order)

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """forks.start(program, *arguments, folder=...) is a process that begins at once: see Forks and Fork."""
    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.close()


DIE = object()
"""Close the connection in the middle of an answer."""

Answer = dict[str, Any] | bytes | tuple[int, dict[str, str], dict[str, Any] | bytes] | object


def chat_reply(text: str, *, logprobs: list[dict[str, Any]] | None = None, finish: str = "stop", **changes: Any) -> dict[str, Any]:
    """A chat completion as OpenAI documents it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": None if logprobs is None else {"content": logprobs}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage, **changes}


def error(status: int, message: str, *, headers: dict[str, str] | None = None, code: str | None = None) -> Answer:
    return (status, headers or {}, {"error": {"message": message, "type": "test", "code": code, "param": None}})


def digit_logprobs() -> list[dict[str, Any]]:
    """One token, 7, beside the other digits."""
    tops = [{"token": str(digit), "logprob": -0.1 if digit == 7 else -4.0, "bytes": None} for digit in (7, 0, 1, 2, 3, 4, 5, 6, 8, 9)]
    return [{"token": "7", "logprob": -0.1, "bytes": None, "top_logprobs": tops}]


def labeller(body: dict[str, Any]) -> dict[str, Any]:
    """Explains and simulates, both by checksums of what it is asked; it keeps to JSON schemas and returns no log-probabilities."""
    text = body["messages"][-1]["content"]
    if "zebra" in json.dumps(body.get("response_format")):
        return chat_reply('{"animal": "zebra"}')
    if text.startswith("Fires on: "):
        described, *lines = text.split("\n")
        tokens = [line.split("\t", 1)[1] for line in lines]
        levels = [zlib.crc32(f"{described} {token.strip()}".encode()) % 10 for token in tokens]
        return chat_reply(json.dumps({"levels": [[i, *pair] for i, pair in enumerate(zip(tokens, levels, strict=True), start=1)]}))
    kind = zlib.crc32(json.dumps([text, body.get("seed")]).encode())
    return chat_reply(f"words of kind {kind} as in the town")


def toy_tokens(text: str) -> list[str]:
    """Words with the space before them, digits, and single characters."""
    return re.findall(r" ?[A-Za-z]+|[0-9]|.", text, flags=re.DOTALL)


def toy_next(tokens: list[str], vocabulary: list[str]) -> dict[str, float]:
    """Natural-log probabilities of the next token by a model that copies: .9 on what followed the last token when it stood before."""
    before = [tokens[i + 1] for i in range(len(tokens) - 1) if tokens[i] == tokens[-1]]
    share = {token: 1.0 / len(vocabulary) for token in vocabulary}
    if before:
        share = {token: 0.1 / len(vocabulary) for token in vocabulary}
        share[before[-1]] += 0.9
    return {token: math.log(value) for token, value in share.items()}


def toy_echo(body: dict[str, Any], *, shift: int = 0, bos: str = "") -> dict[str, Any]:
    """A legacy completion of the toy model with prompt log-probabilities; shift: places by which they stand too late."""
    tokens = toy_tokens(body["prompt"])
    vocabulary = sorted(set(tokens) | set("0123456789"))
    tops: list[dict[str, float] | None] = [None]
    for at in range(1, len(tokens) + 1):
        ranked = sorted(toy_next(tokens[:at], vocabulary).items(), key=lambda item: -item[1])
        tops.append(dict(ranked[: body["logprobs"]]))
    shown = [*tokens, "!"]
    moved = [tops[min(max(at - shift, 0), len(tops) - 1)] for at in range(len(tops))]
    if bos:
        shown, moved = [bos, *shown], [None, *moved]
    offsets = [sum(len(token) for token in shown[:at]) for at in range(len(shown))]
    logprobs = {"tokens": shown, "token_logprobs": [None] * len(shown), "top_logprobs": moved, "text_offset": offsets}
    choice = {"index": 0, "finish_reason": "length", "text": "".join(shown), "logprobs": logprobs}
    usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": len(tokens) + 1}
    return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


@dataclass
class Server:
    """`answer(body)` is called for every request, in the request's own thread; its value is sent."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Answer] = lambda body: chat_reply("hello")
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    die = DIE

    def prompts(self) -> list[str]:
        """The last message of every conversation that was asked, in order."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    chat = staticmethod(chat_reply)
    error = staticmethod(error)
    digits = staticmethod(digit_logprobs)
    labeller = staticmethod(labeller)
    echo = staticmethod(toy_echo)
    tokens = staticmethod(toy_tokens)
    following = staticmethod(toy_next)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are sent one after the other: the second would wait for the client's delayed acknowledgement, 40 ms an answer.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.bodies.append(body)
            server.paths.append(self.path)
            server.keys.append(self.headers.get("authorization", ""))
            answer = server.answer(body)
            if answer is DIE:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
                self.close_connection = True
                return
            status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of some tests."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A running server; yields its base URL."""
    http = _Http(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/v1"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server; its base URL is `server.url`."""
    made = Server()
    with _served(_handler(made)) as made.url:
        yield made


# ---- a server with OpenAI's Batch API


def batch_model(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion that depends on everything that was sent; it keeps to schemas and gives log-probabilities."""
    told = json.dumps(body, sort_keys=True).encode()
    text = body["messages"][-1]["content"]
    reply, logprobs = f"re {text} {zlib.crc32(told):08x}", None
    if "zebra" in json.dumps(body.get("response_format")):
        reply = '{"animal": "zebra"}'
    elif "levels" in json.dumps(body.get("response_format")):
        lines = [line.split("\t", 1) for line in text.split("\n") if re.match(r"\d+\t", line)]
        reply = json.dumps({"levels": [[int(number), token, zlib.crc32(token.encode()) % 10] for number, token in lines]})
    if body.get("logprobs"):
        tops = [{"token": str(digit), "logprob": -1.0 - digit, "bytes": None} for digit in range(body["top_logprobs"])]
        reply, logprobs = "0", {"content": [{"token": "0", "logprob": -1.0, "bytes": None, "top_logprobs": tops}]}
    message = {"role": "assistant", "content": reply}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": logprobs}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


Verdict = tuple[int, str] | str
"""What becomes of a request: a status and a message, "expired", "cancelled", "missing", or "ok"."""


@dataclass
class Batches:
    """It keeps to OpenAI's Batch API; `verdict(nth batch from 0, text)` says what becomes of a request of a batch, `model(body)` answers
    calls and requests of batches alike."""

    url: str = ""
    verdict: Callable[[int, str], Verdict] = lambda nth, text: "ok"
    refuses: Callable[[int, list[dict[str, Any]]], list[dict[str, Any]] | None] = lambda nth, lines: None
    """Errors for which a batch fails as a whole."""
    ends: Callable[[int], str] = lambda nth: "completed"
    breaks: Callable[[str, str], Any] = lambda method, path: None
    """A status in place of an answer, or "after": the connection is lost once the request is carried out."""
    looks: int = 3
    """At which one look a batch has ended."""
    model: Callable[[Mapping[str, Any]], Any] = batch_model
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of live calls."""
    keys: set[str] = field(default_factory=set)
    lock: Any = field(default_factory=threading.RLock)

    fake = staticmethod(batch_model)
    labeller = staticmethod(labeller)

    def lines(self, nth: int) -> list[dict[str, Any]]:
        """The requests of a batch."""
        return [json.loads(line) for line in self.files[self.batches[nth]["input_file_id"]].decode().splitlines()]

    def texts(self, nth: int) -> list[str]:
        return [line["body"]["messages"][-1]["content"] for line in self.lines(nth)]

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        nth = len(self.batches)
        batch = {
            "id": f"batch_{nth}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "completion_window": body["completion_window"],
            "created_at": int(time.time()),
            "input_file_id": body["input_file_id"],
            "metadata": body.get("metadata"),
            "status": "validating",
        }
        self.batches.append(batch | {"looked": 0})
        return batch

    def look(self, nth: int) -> dict[str, Any]:
        batch = self.batches[nth]
        batch["looked"] += 1
        lines = self.lines(nth)
        total = len(lines)
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            batch["request_counts"] = {"total": total, "completed": min(total, batch["looked"]), "failed": 0}
            if batch["looked"] >= self.looks:
                self.end(nth, batch, lines)
        return {name: value for name, value in batch.items() if name != "looked"}

    def end(self, nth: int, batch: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        errors = self.refuses(nth, lines)
        if errors is not None:
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
            return
        good, bad = [], []
        for line in reversed(lines):
            text = line["body"]["messages"][-1]["content"]
            verdict = self.verdict(nth, text)
            row: dict[str, Any] = {"id": f"batch_req_{nth}", "custom_id": line["custom_id"], "response": None, "error": None}
            if verdict == "ok":
                good.append(row | {"response": {"status_code": 200, "request_id": "r", "body": self.model(line["body"])}})
            elif isinstance(verdict, tuple):
                error = {"message": verdict[1], "type": "test", "param": None, "code": None}
                bad.append(row | {"response": {"status_code": verdict[0], "request_id": "r", "body": {"error": error}}})
            elif verdict != "missing":
                bad.append(row | {"error": {"code": f"batch_{verdict}", "message": f"This request could not be executed: {verdict}."}})
        batch["status"] = self.ends(nth)
        for name, rows in (("output", good), ("error", bad)):
            if rows:
                batch[f"{name}_file_id"] = f"file-{name}-{nth}"
                self.files[f"file-{name}-{nth}"] = "".join(json.dumps(row) + "\n" for row in rows).encode()


def _batch_handler(state: Batches) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.serve("GET", b"")

        def do_POST(self) -> None:
            self.serve("POST", self.rfile.read(int(self.headers["content-length"])))

        def serve(self, method: str, sent: bytes) -> None:
            path = self.path.partition("?")[0].removeprefix("/v1")
            state.keys.add(self.headers.get("authorization", ""))
            broken = state.breaks(method, path)
            if isinstance(broken, int):
                return self.send(broken, {"error": {"message": f"down {self.headers.get('authorization')}", "code": None}})
            with state.lock:
                status, answer = self.route(method, path, sent)
            if broken == "after":
                self.close_connection = True
                return None
            return self.send(status, answer)

        def route(self, method: str, path: str, sent: bytes) -> tuple[int, Any]:
            if method == "POST" and path == "/chat/completions":
                state.calls.append(json.loads(sent))
                return 200, state.model(state.calls[-1])
            if method == "POST" and path == "/files":
                boundary = b"--" + re.search(r"boundary=(\S+)", self.headers["content-type"])[1].encode()  # type: ignore[index]
                parts = [part.strip(b"\r\n").split(b"\r\n\r\n", 1) for part in sent.split(boundary)[1:-1]]
                fields = {re.search(rb'name="(\w+)"', head)[1]: content for head, content in parts}  # type: ignore[index]
                assert fields[b"purpose"] == b"batch"
                name = f"file-{len(state.files)}"
                state.files[name] = fields[b"file"]
                return 200, {"id": name, "object": "file", "purpose": "batch", "bytes": 0, "created_at": 0, "filename": "f", "status": "x"}
            if method == "POST" and path == "/batches":
                return 200, state.submit(json.loads(sent))
            if path == "/batches":
                return 200, {"object": "list", "data": state.batches[::-1], "has_more": False}
            found = re.fullmatch(r"/batches/batch_(\d+)", path)
            if found and int(found[1]) < len(state.batches):
                return 200, state.look(int(found[1]))
            found = re.fullmatch(r"/files/([\w-]+)/content", path)
            if found and found[1] in state.files:
                return 200, state.files[found[1]]
            return 404, {"error": {"message": "not there", "code": None}}

        def send(self, status: int, answer: Any) -> None:
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


@pytest.fixture
def batches() -> Iterator[Batches]:
    """A running server with OpenAI's Batch API, which fails where it is told to; its base URL is `batches.url`."""
    made = Batches()
    with _served(_batch_handler(made)) as made.url:
        yield made
