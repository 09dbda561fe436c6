"""What all tests share: few threads, and tiny random models built in code."""

import copy
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

# Read by torch when it is first imported: two threads that sleep while they wait, so that a busy machine is not kept busier.
os.environ.setdefault("OMP_NUM_THREADS", "2")
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
    """The model of a configuration, the same weights each time."""
    import torch
    from transformers import AutoModelForCausalLM

    automatic: Any = AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return automatic.from_config(config)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_checkpoint("llama") is the folder of a tiny random model of that family with a small real tokenizer, built once a session.

    Families: llama, mistral, qwen2, qwen3, gemma2, phi, gpt2, gpt_neox, opt, bloom, falcon, gptj, gpt_neo; mixtral and qwen2_moe, which
    are mixtures of experts. Hidden size 32, 3 blocks, 48 neurons a block (128 for bloom), up to 1024 positions.
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
