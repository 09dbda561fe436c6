"""Who is told, and how, when a suite's numbers leave their noise: once when they do, and once when they are back."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.alerts.config import AlertConfig, Smtp, Webhook
    from evals.alerts.state import Event, changes_of_state, mark_fired
    from evals.alerts.telling import Alerted, Delivery, alert, notify

__all__ = ["AlertConfig", "Alerted", "Delivery", "Event", "Smtp", "Webhook", "alert", "changes_of_state", "mark_fired", "notify"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("AlertConfig", "Smtp", "Webhook"), "evals.alerts.config"),
        **dict.fromkeys(("Alerted", "Delivery", "alert", "notify"), "evals.alerts.telling"),
        **dict.fromkeys(("Event", "changes_of_state", "mark_fired"), "evals.alerts.state"),
    },
)
