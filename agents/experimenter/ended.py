"""From an experiment that has ended to its outcome."""

from agents.experimenter.outcome import Experimented
from agents.experimenter.rows import End
from agents.experimenter.session import Session
from agents.explanation import Explanation
from analyzers.errors import Failed


def ended(session: Session, end: End) -> Experimented | Failed:
    """The accepted answer; where there is none, the one that was sent back, or the best hypothesis; Failed where there is nothing."""
    start = session.start
    stopped = "" if session.accepted else end.stopped or "the model ended without an answer"
    clauses, confidence = session.clauses(), session.confidence
    if not clauses:
        clauses, confidence = session.best(), None
    if not clauses:
        return Failed("budget" if end.on_budget and not session.accepted else "explain", f"{stopped}; there is no hypothesis yet")
    return Experimented(
        explanation=Explanation("; ".join(clause.text for clause in clauses), start.explainer, start.prompt),
        clauses=clauses,
        confidence=confidence,
        stopped=stopped,
        on_budget=end.on_budget and not session.accepted,
        model_calls=end.model_calls,
        tokens=end.tokens,
        steps=tuple(row.model_dump(mode="json") for row in (start, *session.steps, end)),
    )
