"""The model under study: its tokens, its forward pass, and the activations of its MLP neurons."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analyzers.errors import SubjectError
from analyzers.mlps import down_projections, linear_shape
from analyzers.progress import Report, quiet
from analyzers.sites import Site

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Subject:
    """A causal language model with its tokenizer and the down-projection of every decoder block."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, identity: dict[str, str]) -> None:
        """Take a loaded model; SubjectError where its MLPs cannot be read."""
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.base: nn.Module = model.base_model
        self.hidden: int = model.config.get_text_config().hidden_size
        self.projections = down_projections(self.base, self.hidden)
        """[layer] the module whose input is that block's neurons."""
        self.neurons = tuple(shape[0] for module in self.projections if (shape := linear_shape(module)) is not None)
        self.layers = len(self.projections)
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.identity = {"name": name, **identity, "dtype": dtype_name(self.dtype)}
        special = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self.prefix: tuple[int, ...] = () if special is None else (special,)
        """Token ids that every block starts with: the tokenizer's BOS or else its EOS."""
        self._token_text = lru_cache(maxsize=None)(self._decode_one)
        self._plain = tokenizer.encode("a", add_special_tokens=False)[-1]
        self._anchor = self._find_anchor()
        self._check_capture()

    @classmethod
    def load(
        cls, name_or_path: str, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False, report: Report = quiet
    ) -> "Subject":
        """Load any Hugging Face causal language model by name or folder.

        dtype: float32, bfloat16, float16, or auto: bfloat16 where the device computes it fast, else float32.
        device: cpu, cuda, cuda:1, mps, or auto: the fastest that is there.
        Raises SubjectError for a model, dtype or device that does not exist and for a model whose MLPs cannot be read.
        """
        place = choose_device(device)
        number = choose_dtype(dtype, place)
        if not Path(name_or_path).is_dir():
            raise SubjectError(f"{name_or_path!r} is not a folder")
        report(f"loading {name_or_path}", 0, 0)
        model, tokenizer = load_pretrained(name_or_path, name_or_path, number, place, trust_remote_code)
        return cls(model, tokenizer, name=Path(name_or_path).name, identity={"source": "path", "revision": "unknown"})

    def check(self, site: Site) -> None:
        """Raise SubjectError, naming the range, for a site this model does not have."""
        last = self.layers - 1
        if not 0 <= site.layer <= last:
            raise SubjectError(f"{str(site)!r}: {self.name} has layers 0-{last}; choose L0.mlp.<neuron> to L{last}.mlp.<neuron>")
        last = self.neurons[site.layer] - 1
        if not 0 <= site.index <= last:
            layer = f"L{site.layer}.mlp"
            raise SubjectError(f"{str(site)!r}: that layer of {self.name} has neurons 0-{last}; choose {layer}.0 to {layer}.{last}")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens and without the space that some tokenizers put before a text."""
        if not self._anchor or not text:
            return self._encode(text)
        anchor = self._encode(self._anchor)
        ids = self._encode(self._anchor + text)
        if ids[: len(anchor)] == anchor:
            return ids[len(anchor) :]
        return self._encode(text)

    def token_text(self, token_id: int) -> str:
        """Exact text of a token, with its leading space.

        The texts of an encoded text's tokens, joined, are that text, but for characters that are split over several tokens:
        each part of such a character reads U+FFFD.
        """
        return self._token_text(token_id)

    @contextmanager
    def capture(self, fn: Callable[[int, Tensor], None]) -> Iterator[None]:
        """Within the context every forward pass calls fn(layer, activations [batch, pos, neuron]) once a block.

        The activations are the input of the block's down-projection, raw and signed, in the model's dtype; not a copy, so fn
        must not change or keep them. The hooks come off when the context ends, also by an exception.
        """
        shape: list[int] = []

        def note_shape(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = args[0] if args else kwargs.get("input_ids")
            shape[:] = (ids if ids is not None else kwargs["inputs_embeds"]).shape[:2]

        def reader(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            # Some families flatten [batch, pos] before the MLP.
            return lambda _module, args: fn(layer, args[0].view(*shape, args[0].shape[-1]))

        handles = [self.base.register_forward_pre_hook(note_shape, with_kwargs=True)]
        try:
            for layer, module in enumerate(self.projections):
                handles.append(module.register_forward_pre_hook(reader(layer)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.inference_mode()
    def forward(self, ids: Tensor, mask: Tensor | None = None) -> None:
        """Run the model without its LM head and without a cache, for what `capture` sees.

        ids [batch, pos]; mask [batch, pos] is 1 where there is a token, padding stands on the right.
        """
        self.base(
            input_ids=ids.to(self.device),
            attention_mask=None if mask is None else mask.to(self.device),
            use_cache=False,
        )

    def activations(self, ids: Tensor, sites: Sequence[Site]) -> Tensor:
        """Raw signed activations [batch, pos, site], float32 on the CPU, of sites of either side; ids [batch, pos] without padding."""
        for site in sites:
            self.check(site)
        out = torch.empty(*ids.shape, len(sites))

        def read(layer: int, activations: Tensor) -> None:
            for column, site in enumerate(sites):
                if site.layer == layer:
                    out[..., column] = activations[..., site.index].float().cpu()

        with self.capture(read):
            self.forward(ids)
        return out

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _decode_one(self, token_id: int) -> str:
        # Decoders strip a space at the very start of a text, so the token is decoded behind another one.
        before: str = self.tokenizer.decode([self._plain], clean_up_tokenization_spaces=False)
        both: str = self.tokenizer.decode([self._plain, token_id], clean_up_tokenization_spaces=False)
        return both[len(before) :]

    def _find_anchor(self) -> str:
        """A text to encode in front of others, and cut off again, where the tokenizer puts a space before every text; else empty."""
        if self.token_text(self._encode("a")[0]).startswith("a"):
            return ""
        for anchor in ("\n", "|", "."):
            alone = self._encode(anchor)
            if self._encode(anchor + "a")[: len(alone)] == alone:
                return anchor
        return ""

    def _check_capture(self) -> None:
        """Run two tokens: a model that does not pass its neurons through its down-projections cannot be read."""
        seen: list[tuple[int, tuple[int, ...]]] = []
        with self.capture(lambda layer, activations: seen.append((layer, tuple(activations.shape)))):
            self.forward(torch.tensor([[self._plain, self._plain]]))
        expected = [(layer, (1, 2, width)) for layer, width in enumerate(self.neurons)]
        if seen != expected:
            raise SubjectError(f"{self.name!r} has no readable MLP: its down-projections are not called once a block; choose another model")


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


def load_pretrained(folder: str, name: str, dtype: torch.dtype, device: torch.device, trust_remote_code: bool) -> tuple[Any, Any]:
    """(model, tokenizer) from a folder in Hugging Face's layout; SubjectError, naming `name`, for what is no causal language model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:300]
        raise SubjectError(f"{name!r} cannot be loaded as a causal language model: {why}") from error
    return model.to(device), tokenizer
