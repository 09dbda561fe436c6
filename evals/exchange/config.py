"""What is imported, as the manifest keeps it."""

from pydantic import BaseModel, ConfigDict, Field

from evals.label_config import LARGEST_SEED


class ImportConfig(BaseModel):
    """Everything that decides what an import gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    format: str
    features: str = ""
    """Ranges of indices; empty for all."""
    tokenizer: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    subject: str = ""
    """The model that the data says it is of, and its corpus; several are joined."""
    corpus: str = ""
    explainer: str = ""
    simulator: str = "none"


class RescoreConfig(BaseModel):
    """How imported explanations are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulator: str
    records: int = Field(60, ge=2)
    """Most records of a site that are scored."""
    base_url: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
