"""How much the last position of an in-context prompt attends to the labels of each class, layer by layer.

Source: Wang et al. 2023, arXiv 2305.14160, section 2.3.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from analyzers.attention.door import Attended, attending
from analyzers.icl.answers import next_logits
from analyzers.icl.prompts import IclPrompt
from analyzers.padding import like_lengths
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]


@torch.inference_mode()
def label_attention(model: TextModel, prompts: Sequence[IclPrompt], report: Report = quiet) -> Floats:
    """[prompt, layer, class] attention from q to the first tokens of the class's labels, summed over them and over heads.

    Raises SubjectError for a model whose attention cannot be exchanged, and as `answers` does.
    """
    if not prompts:
        raise ValueError("no prompts to read the attention of")
    found = np.zeros((len(prompts), model.layers, len(prompts[0].class_tokens)))
    done = 0
    for batch in like_lengths([len(prompt) for prompt in prompts]):

        def see(one: Attended, batch: Sequence[int] = batch) -> None:
            for row, number in enumerate(batch):
                prompt = prompts[number]
                to_labels = one.probabilities[row, :, prompt.q, list(prompt.labels)].double().sum(0).cpu().numpy()
                np.add.at(found[number, one.layer], list(prompt.classes), to_labels)

        with attending(model.model, seen=see):
            next_logits(model, [prompts[number] for number in batch])
        done += len(batch)
        report("attention to labels", done, len(prompts))
    return found
