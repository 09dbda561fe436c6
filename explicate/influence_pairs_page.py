"""The page of `explicate influence pairs`: how often the expected text moves its query more, and both texts of every pair."""

from typing import Any

from evals.influence.pairs_results import Both, Pairs, ScoredPair
from explicate.influence_evaluation_page import section
from explicate.influence_words import METHODS, SILENT_PAIRS, pairs_headline, score_told
from explicate.pages import environment, trusted
from explicate.shaded_words import visible
from explicate.written_file import forms


def render(found: Pairs) -> str:
    """The whole page."""
    page = environment().get_template("influence_pairs.html")
    headline = pairs_headline(found)
    return str(
        page.render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"Which of two texts moves {visible(found.model['name'])} more",
            first=METHODS.get(found.method, visible(found.method)),
            headline=headline[:1].upper() + headline[1:],
            sections=[section(name, measure) for name, measure in found.measures.items()],
            pairs=[_pair(pair, found.method) for pair in found.pairs],
            found=found,
            kept=f"{found.kept:.1%}",
            silent=SILENT_PAIRS,
            notes=[visible(note) for note in found.notes],
            identity=[(visible(key), visible(value)) for key, value in (*found.model.items(), *found.source.items())],
        )
    )


FORMS = forms(render)


def _pair(pair: ScoredPair, method: str) -> dict[str, Any]:
    scores = pair.scores[method]
    assert isinstance(scores, Both)
    return {
        "prompt": visible(pair.prompt),
        "completion": visible(pair.completion),
        "one": visible(pair.one),
        "other": visible(pair.other),
        "of_one": score_told(scores.one),
        "of_other": score_told(scores.other),
        "kind": "good" if scores.one > scores.other else "bad",
        "verdict": "more" if scores.one > scores.other else "not more",
        "other_queries": f"{pair.other_queries:.0%}",
    }
