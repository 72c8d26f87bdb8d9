"""The typed section `labeling` of `kind: label`: who labels, how many rows a request, what it may cost."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from categorize.recipe.section import DType, Fraction, NonNegativeInt, PositiveFloat, PositiveInt, Section

NonNegativeFloat = Annotated[float, Field(ge=0.0)]
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _variable(name: str) -> str:
    """The name of an environment variable: a key itself must stand in no file."""
    if not ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError(
            "names an environment variable that holds the key, such as OPENAI_API_KEY, never the key itself"
        )
    return name


def _url(url: str) -> str:
    """The base URL of a server, as requests are sent to it."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        right = parts.scheme in ("http", "https") and bool(parts.hostname and port) and not re.search(r"[\s?#@]", url)
    except ValueError:  # a port or an IPv6 address that is not one
        right = False
    if not right:
        raise ValueError("must be the base URL of a server, such as http://localhost:8000/v1, without keys and queries")
    return url.rstrip("/").removesuffix("/chat/completions")


Url = Annotated[str, AfterValidator(_url)]
# What a request has of the recipe's own keys, and what would change the form of its answers.
REQUEST_KEYS = ("messages", "model", "temperature", "top_p", "max_tokens", "response_format", "stream", "n")


def _extra_body(extra: dict[str, Any]) -> dict[str, Any]:
    for name in REQUEST_KEYS:
        if name in extra:
            raise ValueError(f"{name} is not for extra_body: it has a key of its own, or would change how answers come")
    return extra


class Prices(Section):
    """What a teacher costs, in one currency for a million tokens."""

    input: NonNegativeFloat = Field(0.0, description="A million input tokens.")
    cached_input: NonNegativeFloat | None = Field(
        None, description="A million input tokens that the server had cached; as input by default."
    )
    output: NonNegativeFloat = Field(0.0, description="A million output tokens.")
    batch_discount: Fraction = Field(0.0, description="Share that provider batches take off, such as 0.5.")
    currency: str = Field("USD", description="How amounts are shown.")


class Budget(Section):
    """Where a job stops, at the latest; the worst case of a request is reserved before it is sent."""

    requests: PositiveInt | None = Field(None, description="Most requests.")
    tokens: PositiveInt | None = Field(None, description="Most tokens, input and output.")
    money: PositiveFloat | None = Field(None, description="Most money, in the currency of the teacher's prices.")
    hours: PositiveFloat | None = Field(None, description="Most hours of wall clock, of this start.")


class TeacherSection(Section):
    """What every teacher has."""

    name: str | None = Field(None, description="How tables name this teacher; its model by default.")


class AskedTeacher(TeacherSection):
    """What teachers share that write answers to requests."""

    temperature: NonNegativeFloat = Field(0.0, description="Sampling temperature.")
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, description="Nucleus sampling.")
    max_tokens: PositiveInt = Field(1800, description="Most tokens of an answer; enough for 50 rows of short labels.")
    prices: Prices = Field(default_factory=lambda: Prices(), description="For costs, budgets and estimates.")


class EndpointTeacher(AskedTeacher):
    """An OpenAI-compatible chat server: vLLM, SGLang, llama.cpp, `transformers serve`, or a paid API."""

    type: Literal["endpoint"]
    url: Url | Annotated[list[Url], Field(min_length=1)] = Field(
        description="Base URL, such as http://localhost:8000/v1; several share the work."
    )
    model: str = Field(min_length=1, description="Model, as the server names it.")
    api_key_env: Annotated[str, AfterValidator(_variable)] | None = Field(
        None, description="Environment variable that holds the key."
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_extra_body)] = Field(
        default_factory=dict, description="Further keys of each request, such as chat_template_kwargs."
    )
    response_format: Literal["auto", "none", "json_object", "json_schema"] = Field(
        "auto", description="Guided answers: auto takes the strictest that a probe finds."
    )
    probabilities: Literal["auto", "never"] = Field(
        "auto",
        description="One row a request, answered by codes: the probabilities of all labels, where a probe finds them.",
    )
    concurrency: PositiveInt | Literal["adaptive"] = Field(
        "adaptive", description="Requests at a time: adaptive finds what the server takes."
    )
    max_concurrency: PositiveInt = Field(64, description="Most requests at a time under concurrency: adaptive.")
    requests_per_minute: PositiveFloat | None = Field(None, description="Limit of the provider.")
    tokens_per_minute: PositiveFloat | None = Field(None, description="Limit of the provider.")
    timeout: PositiveFloat = Field(600.0, description="Seconds that an answer may take.")
    retries: NonNegativeInt = Field(
        6,
        description="Further tries of a request that failed; waiting for rate limits, or for a server that is down, "
        "is not counted.",
    )


class BatchFileTeacher(AskedTeacher):
    """A provider's batch: request files are written, uploaded by the user, and result files read back."""

    type: Literal["batch_file"]
    provider: Literal["openai", "anthropic", "siliconflow"] = Field(
        "openai", description="Whose form and limits the files keep."
    )
    model: str = Field(min_length=1, description="Model, as the provider names it.")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Further keys of each request.")
    results: str | list[str] | None = Field(
        None, description="Result and error files, or their folder; OUTPUT.batches/results by default."
    )


class LocalTeacher(AskedTeacher):
    """A model on this machine, by transformers."""

    type: Literal["local"]
    name_or_path: str = Field(min_length=1, description="Model folder or Hub id.")
    revision: str | None = Field(None, description="Revision on the Hub.")
    dtype: DType = Field("auto", description="Type of the weights.")
    mode: Literal["generation", "scoring"] = Field(
        "generation", description="generation: it writes answers; scoring: probabilities of the labels, one row each."
    )
    grammar: bool = Field(False, description="Constrain answers to the wire format; needs the extra xgrammar.")
    batch_size: PositiveInt = Field(8, description="Requests that are generated together.")


class RunTeacher(TeacherSection):
    """A fine-tuned run: the student that labels the rest."""

    type: Literal["run"]
    run: str = Field(min_length=1, description="Run folder, or Hub id as owner/name.")
    base: str | None = Field(None, description="Where the base model of an adapter is now.")


Teacher = Annotated[EndpointTeacher | BatchFileTeacher | LocalTeacher | RunTeacher, Field(discriminator="type")]


class Rationale(Section):
    """A reason for each label, bounded."""

    words: PositiveInt = Field(8, description="Most words of a reason in English.")
    characters: PositiveInt = Field(12, description="Most Chinese characters of a reason.")


class Agreement(Section):
    """How the labels of several teachers, or of repeats, become one."""

    method: Literal["dawid_skene", "majority"] = Field("dawid_skene", description="How votes become a label.")
    min_confidence: Fraction = Field(
        0.0, description="Rows below it are set apart: they have no label in the table of labels."
    )


class Review(Section):
    """What people see of the labels, and what is concluded from their review."""

    beside: str | None = Field(None, description="Another labelled run, whose labels stand beside these in the sheet.")
    blind: bool = Field(False, description="Leave the labels out of the sheet, so that they lead nobody.")
    suspects: NonNegativeInt = Field(
        0, description="Rows more, of the lowest confidence: worth fixing, and no part of the random sample."
    )
    groups: str | None = Field(
        None, description="Metadata column; differences of shares between its groups are estimated."
    )


class LabelingSection(Section):
    """Who labels which rows, how they are asked, and what it may cost."""

    teacher: Teacher | None = Field(None, description="The teacher.")
    teachers: Annotated[list[Teacher], Field(min_length=2)] | None = Field(
        None, description="Several teachers, whose labels are compared and joined."
    )
    rows: Literal["unlabeled", "all"] = Field(
        "unlabeled", description="unlabeled: rows with a gold label keep it and are not asked about; all: every row."
    )
    answer: Literal["json", "code"] = Field(
        "json", description="json: items with ids; code: one row a request, answered by a bare label or code."
    )
    items: PositiveInt = Field(50, description="Rows a request; 1 under answer: code.")
    rationale: Rationale | None = Field(None, description="Ask for a short reason of each label.")
    repeats: PositiveInt = Field(
        1, description="Times that each row is asked about, in other orders of rows and labels."
    )
    flip_sample: NonNegativeInt = Field(0, description="Rows that are asked about twice, to measure the flip rate.")
    attempts: PositiveInt = Field(
        3, description="Answers that a row asked about alone may fail before it is stored as failed."
    )
    agreement: Agreement = Field(default_factory=lambda: Agreement(), description="From several labels to one.")
    review: Review = Field(default_factory=lambda: Review(), description="The sheet that --review writes.")
    budget: Budget = Field(default_factory=lambda: Budget(), description="Where the job stops at the latest.")
    ledger: str | None = Field(
        None,
        description="Folder of the answers that were paid for; OUTPUT.ledger by default. One job at a time.",
    )
    spreadsheet: Literal["xlsx", "csv"] | None = Field(
        None,
        description="Also leave spreadsheets of custom_id, message, class: unlabeled, labeled (-1: failed) and purged "
        "(without those).",
    )
    shard_rows: PositiveInt = Field(100_000, description="Rows a file of the labelled table.")

    @model_validator(mode="after")
    def _one_or_several(self) -> LabelingSection:
        if (self.teacher is None) == (self.teachers is None):
            raise ValueError("name one teacher, or several under teachers")
        return self

    @property
    def all_teachers(self) -> list[EndpointTeacher | BatchFileTeacher | LocalTeacher | RunTeacher]:
        """The teachers, in order."""
        return [self.teacher] if self.teacher is not None else list(self.teachers or ())
