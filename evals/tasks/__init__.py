"""What is audited: tasks, each a TOML file, and their items. The built-in ones, and all texts in them, are of our own writing."""

from agents.free_answers import normalised
from evals.tasks.items import Item, Items
from evals.tasks.task import Demonstration, Task, built_in, load_task, units_of

__all__ = ["Demonstration", "Item", "Items", "Task", "built_in", "load_task", "normalised", "units_of"]
