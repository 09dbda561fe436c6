"""A byte-level BPE tokenizer of a corpus's own."""

from collections.abc import Sequence
from typing import Any

END = "<|endoftext|>"
"""Ends a text, and so stands before the next one: what a text begins with."""


def small_tokenizer(texts: Sequence[str], vocabulary: int, longest: int) -> Any:
    """Trained on texts, of so many tokens at most, all 256 bytes among them; it puts END before every text. longest: of a model's texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    number = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, number)])
    build: Any = PreTrainedTokenizerFast
    return build(tokenizer_object=tokenizer, bos_token=END, eos_token=END, model_max_length=longest)
