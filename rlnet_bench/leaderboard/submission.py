"""A submission: a folder of data, and its manifest ``submission.yaml``, one schema for all kinds. No torch.

::

    submission.yaml                        this schema
    README.md                              one page, plain text
    SHA256SUMS                             of every other file
    policies/<task>/policy.json            how the policy is built, as runs store it      frozen-policy, network
    policies/<task>/<seed>.safetensors     its weights, one training run each
    network.yaml                           exactly a NetworkSpec                          network
    records/                               a publication: every run, every episode        results, algorithm (all may)
    algorithm/                             code, never imported by a reader               algorithm

``<task>`` is the task's id with ``/`` as ``__``.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from rlnet_bench.errors import BadInput
from rlnet_bench.reading.files import read_text
from rlnet_bench.reading.names import is_seen
from rlnet_bench.reading.yaml import MAX_BYTES, Document, load
from rlnet_bench.runs.strict import Strict, explained
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.vocabulary import Mode, TrainingClass

MANIFEST, README, SUMS = "submission.yaml", "README.md", "SHA256SUMS"
POLICIES, NETWORK, RECORDS, ALGORITHM = "policies", "network.yaml", "records", "algorithm"
SCHEMA = 1
MAX_TASKS, MAX_SEEDS = 200, 100  # of one submission

SubmissionKind = Literal["frozen-policy", "network", "results", "algorithm"]


def _line(text: str) -> str:
    """Text that takes its place in a table and nothing more, and does not look like another."""
    if not text.strip() or text != text.strip() or not all(map(is_seen, text)):
        raise ValueError("expected one line of visible characters, without blanks at its ends")
    if unicodedata.normalize("NFKC", text) != text:
        raise ValueError("expected characters in their plain form (NFKC), not ligatures, wide or composed look-alikes")
    for word in text.split():
        scripts = {unicodedata.name(c, "?").split()[0] for c in word if c.isalpha()}
        if len(scripts) > 1:
            raise ValueError(f"expected letters of one script in a word, found {', '.join(sorted(scripts))} in one")
    return text


def _lines(text: str) -> str:
    for line in text.splitlines():
        if line.strip():
            _line(line.strip())
    return text


def _https(text: str) -> str:
    if not text.startswith("https://") or not text.isascii() or any(c in text for c in " \"'<>\\`"):
        raise ValueError("expected an address that starts with https://, or nothing")
    return _line(text)


Line = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=2_000), AfterValidator(_lines)]
Address = Annotated[str, Field(max_length=300), AfterValidator(_https)]
NAME = "lower-case letters and digits, in words joined by -, _ or ., the first beginning with a letter"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([._-][a-z0-9]+)*$", max_length=48, description=NAME)]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="64 digits of a sha256, 0-9 and a-f")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="a run id, 16 digits 0-9 and a-f")]
TIME = "a time such as 2026-01-31T12:00:00Z"
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d{4})$", description=TIME)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Positive = Annotated[int, Field(gt=0, le=10**15)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[float, Field(allow_inf_nan=False)]
TASK = "the id of a task, such as mpe/simple_spread-discrete-v1"
TaskId = Annotated[str, Field(pattern=r"^[a-z0-9_]+/[A-Za-z0-9_.-]+$", max_length=120, description=TASK)]


class Submitter(Strict):
    """Who submits; all entries of one ``id`` are counted together."""

    id: Name
    name: Line
    contact: Line | None = None


class Tuning(Strict):
    """How the settings were chosen, on whose cost: ``trials`` settings, each with ``seeds`` runs."""

    trials: Positive
    seeds: Positive
    tasks: Annotated[list[TaskId], Field(min_length=1, max_length=MAX_TASKS)]
    space: Text
    """What was searched, in words."""


class TaskEntry(Strict):
    """A task that the submission is about, as it was when it was run."""

    id: TaskId
    hash: Hex64
    frames: Count | None = None
    """Training frames per seed; None: not known."""


class Launch(Strict):
    """A training run that was started, whatever became of it; the list is in order of time."""

    run: RunId | None = None
    """The group's run id: of its configuration, equal for seeds that were trained side by side."""
    task: TaskId
    seed: Seed
    started: Moment | None = None
    status: Literal["ok", "diverged", "failed"]
    reason: Line | None = None

    @model_validator(mode="after")
    def _says_why(self) -> Launch:
        if self.status == "failed" and self.reason is None:
            raise ValueError("a failed launch needs a `reason`")
        return self


class Claim(Strict):
    """What the submitter measured of one policy: team return (sum over agents), over fresh episodes."""

    task: TaskId
    seed: Seed
    mean: Number
    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Standard deviation between episodes."""
    episodes: Annotated[int, Field(ge=2, le=10**7)]


class Submission(Strict):
    """The manifest. What can be computed (scores, execution class, digests, sizes) is not declared."""

    schema_version: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
    kind: SubmissionKind
    method: Name
    """The row on the board; with ``version`` it is listed once, for ever."""
    version: Positive = 1
    title: Line
    description: Text = ""
    submitter: Submitter
    license: Line
    paper: Address | None = None
    code: Address | None = None
    training: TrainingClass
    tuning: Literal["untuned"] | Tuning
    extra_data: Line | None = None
    """Whatever was learned from besides the task: demonstrations, pretrained weights."""
    mode: Mode = "deterministic"
    """How the policies act when they are scored."""
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MAX_SEEDS)]
    """Training seeds, declared before the first launch."""
    tasks: Annotated[list[TaskEntry], Field(min_length=1, max_length=MAX_TASKS)]
    launches: Annotated[list[Launch], Field(max_length=MAX_TASKS * MAX_SEEDS, default_factory=list)]
    claims: Annotated[list[Claim], Field(max_length=MAX_TASKS * MAX_SEEDS, default_factory=list)]
    season: Name | None = None
    beacon_round: Positive | None = None
    """The round of the public beacon that hidden seeds are drawn with; it must lie in the future when it is named."""

    @model_validator(mode="after")
    def _consistent(self) -> Submission:
        tasks = [t.id for t in self.tasks]
        for name, items in (
            ("seeds", self.seeds),
            ("tasks", tasks),
            ("tasks (as names of folders)", list(map(file_stem, tasks))),
            ("claims", [(c.task, c.seed) for c in self.claims]),
            ("launches", [(x.task, x.seed, x.run) for x in self.launches]),
        ):
            if len(set(items)) != len(items):
                raise ValueError(f"{name}: expected distinct entries, one is there twice")
        for name, items in (("launches", [x.task for x in self.launches]), ("claims", [c.task for c in self.claims])):
            if strange := sorted(set(items) - set(tasks)):
                raise ValueError(f"{name}: expected tasks of `tasks`, found {strange[0]!r}")
        if (self.season is None) != (self.beacon_round is None):
            raise ValueError("expected `season` and `beacon_round` together, or neither")
        return self

    @property
    def row(self) -> str:
        """``method@version``: what is listed once."""
        return f"{self.method}@{self.version}"

    def task(self, name: str) -> TaskEntry:
        """A task by id."""
        return next(t for t in self.tasks if t.id == name)


def read_manifest(folder: Path) -> Submission:
    """The manifest of a folder.

    Raises:
        BadInput: with file, line, key and what was expected.
    """
    document = load(read_text(folder / MANIFEST, MAX_BYTES), MANIFEST)
    if isinstance(document.data, dict) and "tasks" not in document.data:
        raise BadInput(f"{MANIFEST}: no tasks yet; `rlnet-bench submit pack STORE {folder}` fills it from a run store.")
    return _validated(document)


def parse_manifest(data: dict[str, Any], name: str) -> Submission:
    """A manifest from plain data; raises BadInput, naming ``name``."""
    return _validated(Document(data, {}, name))


def _validated(document: Document) -> Submission:
    if not isinstance(document.data, dict):
        raise BadInput(f"{document.where()}: expected a mapping with keys such as `kind` and `method`.")
    try:
        return Submission.model_validate(document.data)
    except ValidationError as error:
        raise BadInput(explained(error, document.where, _model_at)) from None


def _model_at(path: tuple[Any, ...]) -> type[BaseModel]:
    models: dict[str, type[BaseModel]] = {
        "submitter": Submitter, "tuning": Tuning, "tasks": TaskEntry, "launches": Launch, "claims": Claim,
    }  # fmt: skip
    return models.get(str(path[0]), Submission) if len(path) > 1 else Submission


def policy_folder(folder: Path, task: str) -> Path:
    """Where the policies of a task are."""
    return folder / POLICIES / file_stem(task)


def weights_file(folder: Path, task: str, seed: int) -> Path:
    """The weights of one training run."""
    return policy_folder(folder, task) / f"{seed}.safetensors"
