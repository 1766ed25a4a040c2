"""What the runs and policies of a submission must be. A finding here: it stays at V0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rlnet_bench import trust
from rlnet_bench.leaderboard.claims import TooGood, too_good
from rlnet_bench.leaderboard.entries import algorithm_of
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.rules.files import REPACK
from rlnet_bench.leaderboard.rules.rule import Broken, Listing, of_submission
from rlnet_bench.leaderboard.submission import ALGORITHM, MANIFEST, NETWORK, RECORDS, weights_file
from rlnet_bench.runs.record_files import weights_digests
from rlnet_bench.runs.records import RunRecord

RERUN = "run it again with this version of the package, and pack that"
ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "-": "", "_": "", ".": ""})


def records_of(folder: Folder) -> list[RunRecord]:
    """Its runs; none where it has no records."""
    return [] if folder.publication is None else list(folder.publication.records)


@of_submission(f"never edit records; {REPACK}")
def records_are_whole(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Every run is there with every episode, and their chains of digests hold."""
    published = folder.publication
    if published is None:
        return
    labels = {r.method for r in published.records}
    if len(labels) != 1:
        yield RECORDS, f"has runs of {len(labels)} methods, expected those of one", REPACK
    for run, status in published.open.items():
        if status != "failed":
            yield RECORDS, f"run {run} has not ended ({status})", "let it end, and pack again"


@of_submission(RERUN)
def tasks_are_of_this_version(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """The task hash stands in the submission, and is that of the catalogue: versions never share a column."""
    for t in folder.manifest.tasks:
        if not folder.is_current(t.id):
            yield f"{MANIFEST}: tasks", f"{t.id} is not in the catalogue with the hash {t.hash[:16]}", RERUN
    for record in records_of(folder):
        declared = next((t for t in folder.manifest.tasks if t.id == record.task), None)
        if declared is None:
            yield RECORDS, f"has runs on {record.task}, which `tasks` does not have", REPACK
        elif record.config.get("task_hash") != declared.hash:
            yield RECORDS, f"run {record.run_id} was made on another version of {record.task}", RERUN
        elif record.config["frames"] != declared.frames:
            yield RECORDS, f"run {record.run_id} had {record.config['frames']} frames, not those of `tasks`", REPACK


@of_submission(REPACK)
def seeds_are_declared(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Seeds are declared before the first launch: all of them are launched on every task, and no others."""
    manifest = folder.manifest
    launched = {(x.task, x.seed) for x in manifest.launches}
    if folder.is_to_be_trained and not launched:
        return
    for t in manifest.tasks:
        for seed in manifest.seeds:
            if (t.id, seed) not in launched:
                yield MANIFEST, f"seed {seed} is declared, and was never launched on {t.id}", (
                    "launch it, or say in `launches` what became of it")  # fmt: skip
    for task, seed in sorted(launched):
        if seed not in manifest.seeds:
            yield MANIFEST, f"seed {seed} was launched on {task}, and is not in `seeds`", (
                "declare every seed; one that was added after a look at results is for a new version")  # fmt: skip
    if folder.publication is not None and sorted(folder.publication.plan.suite.seeds) != sorted(manifest.seeds):
        yield MANIFEST, "`seeds` are not those of the plan in the records", REPACK


@of_submission(REPACK)
def every_launch_is_listed(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Every run that was started is in `launches`, in order of time; failures are counted, and none is left out."""
    launches = folder.manifest.launches
    times = [x.started for x in launches if x.started is not None]
    if times != sorted(times):
        yield MANIFEST, "`launches` are not in the order in which they were started", "sort them by `started`"
    said = {(x.task, x.seed): x for x in launches}
    for record in records_of(folder):
        for seed, status in record.seed_status.items():
            launch = said.get((record.task, seed))
            known = status if status in ("ok", "diverged") else "failed"
            if launch is None or launch.run != record.run_id:
                yield MANIFEST, f"run {record.run_id}, seed {seed} on {record.task}, is not in `launches`", REPACK
            elif launch.status != known:
                yield MANIFEST, f"seed {seed} on {record.task} is {known}, not {launch.status}", REPACK
    for task, seeds in folder.seeds.items():
        for seed in seeds:
            if (task, seed) not in said or said[task, seed].status != "ok":
                yield weights_file(folder.path, task, seed).name, f"on {task}: no launch of `launches` made it", REPACK
    if folder.manifest.kind in ("frozen-policy", "network"):
        for x in launches:
            if x.status == "ok" and x.seed not in folder.seeds.get(x.task, ()):
                yield MANIFEST, f"seed {x.seed} on {x.task} ended well, and its policy is not there", (
                    "submit the policies of all runs, not of chosen ones")  # fmt: skip


@of_submission("submit weights of a policy that this package can build (docs/submitting.md)")
def weights_fit(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Weights are finite numbers with declared names, types and shapes, and go into modules that we build."""
    from rlnet_bench.leaderboard.policies import build

    for task in folder.seeds:
        if folder.is_current(task):
            build(folder, task)
    yield from ()


@of_submission("write a network of catalogued learners; an algorithm of your own is another kind of submission")
def networks_are_data(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """A network is exactly a NetworkSpec: no code at its vertices."""
    if folder.network is not None:
        for name in trust.at_vertices(folder.network.to_json()):
            yield NETWORK, f"names code, {name!r}", "use a learner of the catalogue"
        for record in records_of(folder):
            if record.config.get("network") != folder.network.to_json():
                yield NETWORK, f"is not the network of run {record.run_id}", REPACK


@of_submission("train every seed on its own; a copy of a run is no second run")
def trained_policies_differ(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """No two trained policies are equal: neither two seeds, nor one that somebody else has listed."""
    from rlnet_bench.leaderboard.policies import digests

    listed = {
        (e.task, s.weights[:16]): e for e in listing.entries for s in e.scores
        if e.division == "policies" and s.weights != "-" and e.submitter != folder.manifest.submitter.id
    }  # fmt: skip
    for task in folder.seeds:
        seen: dict[str, int] = {}
        for seed, digest in digests(folder, task).items():
            first = seen.setdefault(digest, seed)
            if first != seed:
                yield f"{task}", f"seeds {first} and {seed} have the same weights", "submit one run under one seed"
            other = listed.get((task, digest[:16]))
            if other is not None:
                yield f"{task}", f"seed {seed} has the weights of {other.method}, which {other.submitter} listed", (
                    "submit your own policies")  # fmt: skip


@of_submission(REPACK)
def policies_are_those_of_the_runs(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Where there are records, the given weights are those that the records scored."""
    mode = folder.manifest.mode
    for record in records_of(folder):
        for line in record.lines("absolute", mode):
            if line.seed in folder.seeds.get(record.task, ()):
                file = weights_file(folder.path, record.task, line.seed)
                if weights_digests(file, 1) != [line.weights]:
                    yield file.name, f"on {record.task}: not the weights that run {record.run_id} scored", REPACK


@of_submission(REPACK)
def claims_are_computed(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """A claim is the mean of recorded episodes, recomputed from them; one without records is checked by evaluation."""
    manifest = folder.manifest
    said = {(c.task, c.seed): c for c in manifest.claims}
    for record in records_of(folder):
        for line in record.lines("absolute", manifest.mode):
            claim, team = said.get((record.task, line.seed)), line.team
            if claim is None:
                yield MANIFEST, f"no claim for seed {line.seed} on {record.task}", REPACK
                continue
            expected = float(team.mean()), float(team.std(ddof=1)), len(team)
            found = claim.mean, claim.sd, claim.episodes
            if any(abs(a - b) > 1e-6 * max(1.0, abs(a)) for a, b in zip(expected, found, strict=True)):
                yield MANIFEST, (f"claims {claim.mean:.6g} (sd {claim.sd:.4g}, {claim.episodes} episodes) for seed "
                                 f"{line.seed} on {record.task}; its episodes give {expected[0]:.6g} "
                                 f"({expected[1]:.4g}, {expected[2]})"), REPACK  # fmt: skip


@of_submission("say how the settings were chosen")
def tuning_is_stated(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """A tuning column: trials x seeds, or "untuned"; nothing is tuned on a suite's test tasks."""
    tuning, published = folder.manifest.tuning, folder.publication
    if isinstance(tuning, str):
        return
    suite = published.plan.suite if published is not None else None
    for task in tuning.tasks:
        if suite is not None and task in suite.test:
            yield f"{MANIFEST}: tuning", f"{task} is a test task of {suite.name}", (
                "tune on its development tasks, and submit that as a new version")  # fmt: skip


@of_submission("choose another name")
def names_are_their_own(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """A row is listed once, for ever, and its name does not look like somebody else's."""
    manifest = folder.manifest
    for e in {(e.method, e.version, e.submitter): e for e in listing.entries}.values():
        if e.submitter == manifest.submitter.id and (e.method, e.version) == (manifest.method, manifest.version):
            if e.source.resolve() != folder.path.resolve():
                yield MANIFEST, f"{manifest.row} is listed already", "raise `version`"
        elif e.submitter != manifest.submitter.id and look_alike(e.method) == look_alike(manifest.method):
            yield MANIFEST, f"`method` {manifest.method!r} looks like {e.method!r} of {e.submitter}", (
                "choose another name")  # fmt: skip


def look_alike(name: str) -> str:
    """What a hasty reader sees of a name.

    >>> look_alike("qm1x") == look_alike("qmix")
    True
    """
    return name.casefold().translate(ALIKE).replace("rn", "m").replace("vv", "w")


@of_submission("submit its records as `results`, or its policies")
def code_is_never_run_by_readers(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """An algorithm is code: it is listed at V0 or V1, and what was run is what is shown."""
    if folder.manifest.kind != "algorithm":
        return
    shown = [folder.digest(f) for f in folder.files if f.startswith(f"{ALGORITHM}/")]
    for record in records_of(folder):
        source = record.config.get("method_source", "")
        if not source or not any(digest.startswith(source) for digest in shown):
            yield RECORDS, f"run {record.run_id} was made with code that is not in {ALGORITHM}/", (
                "put the file that was run there, unchanged")  # fmt: skip


@of_submission("wait for our own training, or raise `version` with what you find", is_note=True)
def too_good_is_looked_at(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """One test per submission, at 1 %, against our records of the same method: an algorithm that is better is
    trained again by us, a policy is scored again on the original package, before either is listed."""
    for found in suspicious(folder, listing):
        yield found.task, f"{found.score:.4g} is above {found.limit:.4g}: {found.why}", (
            "nothing to do: it is trained again, or scored on the original package, before it is listed")  # fmt: skip


def suspicious(folder: Folder, listing: Listing, scores: Mapping[str, Sequence[float]] | None = None) -> list[TooGood]:
    """What is too good, from the claims or from our own scores of the policies."""
    manifest = folder.manifest
    if scores is None:
        scores = {t.id: [c.mean for c in manifest.claims if c.task == t.id] for t in manifest.tasks}
    algorithms = {(r.task, algorithm_of(r.config), r.config["frames"]) for r in records_of(folder)}
    known = {
        e.task: [s.mean for s in e.scores if s.mean is not None]
        for e in listing.entries
        if e.is_maintainers and e.division == "algorithms" and (e.task, e.algorithm, e.frames) in algorithms
    }
    bounds = {r.task: r.bound for r in listing.board.references if r.bound is not None}
    return too_good(scores, known, bounds)
