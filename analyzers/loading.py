"""Loads language models with a number format and a device that suit each other."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from analyzers.errors import SubjectError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


MIXED = "mixed"
"""Weights in bfloat16, products in float32 (analyzers.mixed)."""


def dtype_name(dtype: torch.dtype) -> str:
    """float32, bfloat16, ..."""
    return str(dtype).removeprefix("torch.")


def choose_device(device: str) -> torch.device:
    """The device by that name; auto: cuda, mps or cpu, the first there is. Raises SubjectError for one that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    there = ["cpu"]
    there += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    if device not in there:
        raise SubjectError(f"device {device!r} is not there; choose auto, {', '.join(there)}")
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The number format by that name; auto: bfloat16 where the device computes it fast, else float32. SubjectError for another name."""
    if dtype == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise SubjectError(f"dtype {dtype!r} is unknown; choose auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: GPUs since Ampere, CPUs with AVX512-BF16 or AMX.

    A CPU without them still computes in bfloat16, several times slower.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def engine_dtype(dtype: str, device: torch.device, folder: Path) -> str:
    """The number format of a language model in this process: one of DTYPES, or mixed.

    auto: as for a subject, but mixed on a CPU that is slow at bfloat16 where the folder's weights are in bfloat16: that computes the
    same as float32 in half the memory, except that a token computed by itself is rounded to bfloat16: one that is being written, and
    one that the chunks of a prompt leave over. SubjectError for another name.
    """
    if dtype == "auto" and device.type == "cpu" and not has_fast_bfloat16(device) and _stored_dtype(folder) == "bfloat16":
        return MIXED
    if dtype == MIXED and device.type == "cpu":
        return MIXED
    if dtype not in ("auto", *DTYPES):
        raise SubjectError(f"dtype {dtype!r} is unknown; choose auto, {', '.join(DTYPES)}, or on a CPU {MIXED}")
    return dtype_name(choose_dtype(dtype, device))


def _stored_dtype(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except ValueError:
        return ""  # loading it will say so
    return str(config.get("dtype", config.get("torch_dtype"))) if isinstance(config, dict) else ""


@contextmanager
def readable(name: str, what: str, *, remedy: str = "") -> Iterator[None]:
    """Within the context transformers shows no progress of its own, and what it cannot load is a SubjectError that names `name`, what it
    should be and the remedy."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    damaged = (SafetensorError, UnpicklingError, EOFError, StrictDataclassError)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller's Report tells where things stand
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, *damaged) as error:
        why = " ".join(str(error).split())[:300] or "its weights are cut off"
        raise SubjectError(f"{name!r} cannot be loaded as a {what}: {why}{remedy}") from error


def load_pretrained(
    folder: str, name: str, dtype: torch.dtype, device: torch.device, trust_remote_code: bool, *, any_kind: bool = False
) -> tuple[Any, Any]:
    """(model, tokenizer) from a folder in Hugging Face's layout: a causal language model, or with any_kind whatever reads text.

    Raises SubjectError, naming `name`, for what is no such model, is damaged, lacks weights, or needs a package that is not there. With
    any_kind a model whose head for language has no weights is loaded without one.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    kind = "language model" if any_kind else "causal language model"
    with readable(name, kind):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        made = _made(config)
        if not any_kind and _is_encoder(config, made):
            raise SubjectError(
                f"{name!r} is an encoder ({made}), which continues no text, so that it cannot answer; choose a model that was trained to "
                "write"
            )
        loader, settings = _as_made(made) if any_kind else (AutoModelForCausalLM, {})
        loaded: Any = loader.from_pretrained(folder, dtype=dtype, trust_remote_code=trust_remote_code, output_loading_info=True, **settings)
    model, told = loaded
    model = _with_weights(model, told["missing_keys"], name, kind, any_kind=any_kind)
    return model.to(device).eval().requires_grad_(False), tokenizer


def _with_weights(model: Any, missing: Collection[str], name: str, kind: str, *, any_kind: bool) -> Any:
    """The model, or with any_kind what it has without its head where only that lacks weights: transformers draws those at random.

    missing: names without weights of their own or of another that they are tied to. Raises SubjectError for any other one.
    """
    # What is computed anew, as positions are, is no parameter.
    drawn = sorted(set(missing) & {parameter for parameter, _ in model.named_parameters()})
    if any_kind:
        # Of some encoders a layer behind the last one, which nothing here reads.
        drawn = [parameter for parameter in drawn if "pooler." not in parameter]
        body = getattr(model, "base_model", model)
        if drawn and body is not model and not any(parameter.startswith(f"{model.base_model_prefix}.") for parameter in drawn):
            return body
    if drawn:
        told = ", ".join(drawn[:2]) + (f" and {len(drawn) - 2} more" if len(drawn) > 2 else "")
        raise SubjectError(
            f"{name!r} has no weights for all of a {kind} ({type(model).__name__} lacks {told}), and drawn at random they would answer at "
            f"random; choose one that was {'saved whole' if any_kind else 'trained to write and saved whole'}"
        )
    return model


def _made(config: Any) -> str | None:
    """The class that the model was saved as, or of its family the one that comes first here: for masked language, or causal."""
    from transformers.models.auto import modeling_auto as known

    made: str | None = next(iter(config.architectures or ()), None)
    if made is None:  # written by hand
        made = known.MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(
            config.model_type, known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
        )
    return made


def _is_encoder(config: Any, made: str | None) -> bool:
    """Whether its family tells what stands at masks, and it was not saved as one of those that continue a text."""
    from transformers.models.auto import modeling_auto as known

    writes = made in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() or getattr(config, "is_encoder_decoder", False)
    return config.model_type in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not writes


def _as_made(made: str | None) -> tuple[Any, dict[str, str]]:
    """(what of transformers loads the model, with which settings): with the head that it was saved with, if that is one for language.

    A family whose attention is computed inside its modules is loaded with the kind that can be read.
    """
    import transformers
    from transformers.models.auto import modeling_auto as known

    made_of: Any = getattr(transformers, str(made), None)
    fixed = hasattr(made_of, "_can_set_attn_implementation") and not made_of._can_set_attn_implementation()
    settings = {"attn_implementation": "eager"} if fixed else {}
    if made in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return transformers.AutoModelForCausalLM, settings
    if made in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return transformers.AutoModelForMaskedLM, settings
    return transformers.AutoModel, settings
