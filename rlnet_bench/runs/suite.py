"""Suites: which tasks, methods, seeds and budgets are compared. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from rlnet_bench.envs.registry import is_catalogued
from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.methods import Method, find_method, method_ids
from rlnet_bench.reading.yaml import Document, load
from rlnet_bench.runs.overrides import override
from rlnet_bench.runs.reference_points import Points
from rlnet_bench.runs.strict import Strict, explained
from rlnet_bench.runs.trial import Trial
from rlnet_bench.runs.tuned import TuningRecord, read_record
from rlnet_bench.trust import is_file, typed
from rlnet_bench.vocabulary import Mode, Referee, TrainingReward

MAX_SEEDS = 10_000

Positive = Annotated[int, Field(gt=0)]
NAME = "a name of lower-case letters, digits, - and _ that begins with a letter or digit"
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64, description=NAME)]


UNUSABLE = (".", "..", "suite.json", "seed-plan.json", "trial.json")  # folders of published results must not be these
LONGEST_STEM = 200


def file_stem(name: str) -> str:
    """A task id or a label as the name of a file."""
    return name.replace("/", "__").replace(":", "_")


class Budget(Strict):
    """Training frames per seed: one number, or one per task."""

    frames: Positive | dict[str, Positive]

    def of(self, task: str) -> int:
        """The budget of a task."""
        return self.frames if isinstance(self.frames, int) else self.frames[task]


class Evaluation(Strict):
    """When and how policies are scored; equal for every method of a suite."""

    every: Positive | None = None
    """Frames between the points of the curve; a tenth of the budget by default."""
    episodes: Annotated[int, Field(ge=2, le=100_000)] = 32
    absolute_episodes: Annotated[int, Field(ge=2, le=1_000_000)] = 320
    primary: Mode = "deterministic"
    referee: Referee = "batched"
    """``reference``: the best weights are also scored on the original package, beside our batched score."""


class MethodEntry(Strict):
    """A method of a suite, with overrides of its defaults and the label it gets in tables."""

    id: str | None = None
    network: str | None = None
    label: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    set: dict[str, Any] = {}
    per_task: dict[str, dict[str, Any]] = {}
    """Settings of one task, on top of ``set``."""
    only: list[str] = []
    """The tasks that the entry is run on, where it can't be run on all (kinds of actions); all of them when empty."""
    tuned: TuningRecord | None = None
    """What ``tune`` chose, by family of tasks; in a file, the path of a record from the suite's folder."""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Entries that adopt no record are written as they always were."""
        return {k: v for k, v in handler(self).items() if k != "tuned" or v is not None}

    @model_validator(mode="after")
    def _as_tuned(self) -> MethodEntry:
        wrong = self.tuned and self.tuned.contradicts(self.id or str(self.network), self.set, self.per_task)
        if wrong:
            raise ValueError(f"{self.name}: {wrong}")
        return self

    @model_validator(mode="after")
    def _one_of(self) -> MethodEntry:
        if (self.id is None) == (self.network is None):
            raise ValueError("expected either `id` (a method) or `network` (a Reinforcement Network)")
        stem = file_stem(self.name)
        if not self.name.isprintable() or stem in UNUSABLE or len(stem.encode()) > LONGEST_STEM:
            raise ValueError(
                f"label: results are stored in a folder of that name; expected at most {LONGEST_STEM} bytes of "
                f"printable characters, and none of {', '.join(UNUSABLE)}; found {self.name!r}"
            )
        return self

    @property
    def name(self) -> str:
        """The label in tables."""
        return self.label or self.id or str(self.network)

    def settings(self, task: str | None = None) -> dict[str, Any]:
        """The overrides of the method's defaults on a task."""
        chosen = self.tuned.chosen(task) if self.tuned else {}
        return {**self.set, **self.per_task.get(task or "", {}), **chosen}


class Suite(Strict):
    """A declared comparison."""

    name: Slug
    version: Positive = 1
    description: str = ""
    tasks: Annotated[list[str], Field(min_length=1)]
    """All tasks, in the order of tables; in a file, a list or ``{development: [...], test: [...]}``."""
    test: list[str] = []
    """Those of ``tasks`` on which nothing is tuned or mended."""
    methods: Annotated[list[MethodEntry], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MAX_SEEDS)]
    budget: Budget
    evaluation: Evaluation = Evaluation()
    training_reward: TrainingReward = "team_mean"
    seed_group: Positive | None = None
    """Seeds trained side by side as replicas; 5 where the environments allow it, else 1."""
    card: dict[str, Points] = {}
    """Reference points of tasks that are not in the catalogue, so that their scores have a scale."""
    trial: Trial | None = None
    """What is to be found out, declared before the runs: `rlnet-bench trial` judges it."""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Suites without a trial are written as they always were."""
        return {k: v for k, v in handler(self).items() if k != "trial" or v is not None}

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        """``tasks: {development: [...], test: [...]}`` as the list of both and the list of the second."""
        tasks = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(tasks, dict):
            return data
        strange = sorted(map(str, set(tasks) - {"development", "test"}))
        parts = [tasks.get(part, []) for part in ("development", "test")]
        if strange or not all(isinstance(part, list) for part in parts) or "test" in data:
            raise ValueError(f"tasks: expected a list, or lists `development` and `test`, found {strange or tasks}")
        return {**data, "tasks": [*parts[0], *parts[1]], "test": parts[1]}

    @field_validator("methods", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"id": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if value > MAX_SEEDS:
            raise ValueError(f"expected at most {MAX_SEEDS} seeds")
        return list(range(value))

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        for name, items in (("tasks", self.tasks), ("seeds", self.seeds)):
            if len(set(items)) != len(items):
                raise ValueError(f"{name}: expected distinct entries, found {items}")
        labels = [m.name for m in self.methods]
        if len(set(labels)) != len(labels):
            raise ValueError(f"methods: two entries share a label in {labels}; give each its own `label`")
        stems: dict[str, str] = {}
        for label in labels:
            other = stems.setdefault(file_stem(label), label)
            if other != label:
                raise ValueError(
                    f"methods: the labels {other!r} and {label!r} would share a folder of results; change one"
                )
        if set(self.test) - set(self.tasks):
            raise ValueError(f"test: expected some of `tasks`, found {sorted(set(self.test) - set(self.tasks))}")
        unknown = [x for x in (self.trial.primary, *self.trial.others) if x not in labels] if self.trial else []
        if unknown:
            raise ValueError(f"trial: expected labels of `methods` ({', '.join(labels)}), found {', '.join(unknown)}")
        if self.trial and not self.test:
            raise ValueError("trial: it is judged on test tasks; name some under `tasks: test:`")
        if isinstance(self.budget.frames, dict) and set(self.budget.frames) != set(self.tasks):
            raise ValueError("budget.frames: expected one number per task of `tasks`")
        for task in self.card:
            if task not in self.tasks or is_catalogued(task):
                why = "the catalogue has its card" if task in self.tasks else "it is not among `tasks`"
                raise ValueError(f"card: expected tasks of your own, found {task!r}: {why}")
        for m in self.methods:
            strange = sorted(set(m.per_task) - set(self.tasks))
            if strange:
                raise ValueError(f"methods: {m.name}: per_task names {strange}, which are not among `tasks`")
            for family in m.tuned.families.values() if m.tuned else ():
                if judged := sorted(set(family.frames) & set(self.test)):
                    raise ValueError(
                        f"methods: {m.name}: tuned: its settings were chosen on {judged}, which are test tasks: "
                        "nothing is tuned on these; tune on development tasks"
                    )
            if strange := sorted(set(m.only) - set(self.tasks)):
                raise ValueError(f"methods: {m.name}: only names {strange}, which are not among `tasks`")
        return self

    @property
    def development(self) -> list[str]:
        """The tasks on which settings may be chosen."""
        return [task for task in self.tasks if task not in self.test]

    def cells(self) -> Iterator[tuple[MethodEntry, str]]:
        """Every declared (method, task), tasks of a method together."""
        return ((m, task) for m in self.methods for task in self.tasks if not m.only or task in m.only)

    def names(self) -> list[str]:
        """The tasks, and the methods that are no networks: ids, or code."""
        return [*self.tasks, *(m.id for m in self.methods if m.id is not None)]

    def extended(self, methods: Iterable[str] = (), networks: Iterable[str] = (), tasks: Iterable[str] = ()) -> Suite:
        """The suite with more methods, networks and tasks.

        Raises:
            BadInput: as :func:`parse_suite`.
        """
        data = self.model_dump()
        data["methods"] = [*data["methods"], *({"id": m} for m in methods), *({"network": n} for n in networks)]
        data["tasks"] = [*data["tasks"], *tasks]
        return parse_suite(Document(data, {}, self.name))


def trust_typed(suite: Suite, texts: Iterable[str]) -> None:
    """Trust the code among a suite's names that the caller typed, as an argument or within an override."""
    written = tuple(texts)
    typed(*(name for name in suite.names() if any(name in text for text in written)))


def suite_names() -> list[str]:
    """The suites that come with the package."""
    folder = resources.files("rlnet_bench.suites")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_suite(source: str | Path, overrides: list[str] | None = None) -> Suite:
    """A suite by name, or from a YAML file, with ``key.path=value`` overrides applied.

    Raises:
        UnknownName: with the nearest suite name.
        BadInput: with file, line, key and what was expected.
    """
    text = str(source)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        document, folder = load(Path(text)), Path(text).parent
    elif text in suite_names():
        folder = Path(str(resources.files("rlnet_bench.suites")))
        document = load((folder / f"{text}.yaml").read_text(encoding="utf-8"), f"{text}.yaml")
    else:
        raise UnknownName("suite", text, suite_names())
    _read_records(document, folder)
    return parse_suite(document, overrides)


def _read_records(document: Document, folder: Path) -> None:
    """Put the tuning records that entries name by path in the place of those paths."""
    methods = document.data.get("methods") if isinstance(document.data, dict) else None
    for i, entry in enumerate(methods if isinstance(methods, list) else ()):
        if isinstance(entry, dict) and isinstance(entry.get("tuned"), str):
            try:
                entry["tuned"] = read_record(folder / entry["tuned"]).model_dump(mode="json")
            except BadInput as error:
                raise BadInput(f"{document.where(('methods', i, 'tuned'))}: {error}") from None


def parse_suite(document: Document, overrides: list[str] | None = None) -> Suite:
    """Validate a document; see :func:`load_suite`."""
    if not isinstance(document.data, dict):
        raise BadInput(f"{document.where()}: expected a mapping with keys such as `name` and `tasks`.")
    changed = override(document.data, overrides or [])

    def where(path: tuple[Any, ...]) -> str:
        """Where a value was written: in the file, or on the command line."""
        return next((by for p, by in changed.items() if path[: len(p)] == p), None) or document.where(path)

    try:
        suite = Suite.model_validate(document.data)
    except ValidationError as error:
        raise BadInput(explained(error, where, _model_at)) from None
    sentences = [s for i, entry in enumerate(suite.methods) for s in _wrong_settings(entry, ("methods", i), where)]
    if sentences:
        raise BadInput("\n".join(sentences))
    return suite


def _wrong_settings(entry: MethodEntry, path: tuple[Any, ...], where: Callable[[tuple[Any, ...]], str]) -> list[str]:
    """A sentence with file and line for every wrong setting of a known method; planning judges the names."""
    method = _known(entry)
    if method is None:
        return []
    wrong = _wrong_in(method, entry.set, {}, (*path, "set"), where)
    for task, settings in () if wrong else entry.per_task.items():
        wrong += _wrong_in(method, settings, entry.set, (*path, "per_task", task), where)
    return wrong


def _known(entry: MethodEntry) -> type[Method] | None:
    """The method of an entry that names one of the catalogue's, or a network of the zoo."""
    from rlnet_bench.networks.build import zoo_ids
    from rlnet_bench.networks.method import network_method

    if entry.network is not None:
        return network_method(entry.network)[0] if entry.network in zoo_ids() else None
    return find_method(str(entry.id)) if not is_file(str(entry.id)) and entry.id in method_ids() else None


def _wrong_in(
    method: type[Method],
    settings: dict[str, Any],
    beside: dict[str, Any],
    path: tuple[Any, ...],
    where: Callable[[tuple[Any, ...]], str],
) -> list[str]:
    """The same of one mapping of settings, ``beside`` others that are right: of those that do not go with the rest."""

    def wrong(more: dict[str, Any]) -> str | None:
        try:
            method.configure({**beside, **more})
            return None
        except BadInput as error:
            return str(error)

    if wrong(settings) is None:
        return []
    fine: dict[str, Any] = {}
    for _ in settings:  # some need others, in whatever order they stand
        fine |= {k: value for k, value in settings.items() if k not in fine and wrong(fine | {k: value}) is None}
    if wrong(fine) is not None:
        return [f"{where(path)}: {wrong(settings)}"]
    return [f"{where((*path, key))}: {wrong(fine | {key: settings[key]})}" for key in settings if key not in fine]


def _model_at(path: tuple[Any, ...]) -> type[BaseModel]:
    """The model whose key a path names, for did-you-mean."""
    models: dict[str, type[BaseModel]] = {
        "budget": Budget, "evaluation": Evaluation, "methods": MethodEntry, "trial": Trial,
    }  # fmt: skip
    return models.get(str(path[0]), Suite) if len(path) > 1 else Suite
