"""The pages of the zoo: ``python -m rlnet_bench.networks.pages docs/networks`` writes them anew.

What a page says by hand ("Faithful to", "Simplifies") is kept; everything else is measured or read from the file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.policy import Policy
from rlnet_bench.networks.build import load_network, nominal_card, zoo_ids
from rlnet_bench.networks.draw import draw
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.networks.signal import signals
from rlnet_bench.networks.zoo_files import zoo_text

MEASURED_ON = "mpe/simple_spread-discrete-v1"
SEEDS = (0, 1, 2, 3, 4)
TO_DO = {"Faithful to": "To be said by hand.", "Simplifies": "Nothing."}


def page(name: str, said: str = "") -> str:
    """The page of a zoo network in Markdown; ``said``: the page so far, whose hand-written paragraphs are kept."""
    short, spec = name.removeprefix("zoo/"), load_network(name)
    text = zoo_text(short)
    lines = [
        f"# {name}", "", spec.description, "", f"![{name} with four agents]({short}.svg)", "", "```yaml", text.strip(),
        "```", "",
    ]  # fmt: skip
    for title, otherwise in TO_DO.items():
        found = re.search(rf"^\*\*{title}\.\*\* (.*?)$", said, re.MULTILINE)
        lines += [f"**{title}.** {found[1] if found else otherwise}", ""]
    lines += [
        f"On tasks whose agents observe 8 numbers and choose among 5 actions (`rlnet-bench network check {name}`; with "
        "`--task` on a task of yours):", "",
        "| agents | vertices | edges | levels | message bits up | down | hops | class |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for n in (2, 3, 4, 5):
        g = expand(spec, nominal_card(n))
        counts = (n, len(g.nodes), len(g.links), len(g.generations), f"{g.bits_up:g}", f"{g.bits_down:g}", g.hops)
        lines.append(f"| {' | '.join(map(str, counts))} | {g.execution_class} |")
    return "\n".join(
        [*lines, *_signal_table(name), "", "```bash", f"rlnet-bench run quick --network {name}", "```", ""]
    )


def _signal_table(name: str) -> list[str]:
    """What instructions tell before training."""
    from rlnet_bench.networks.method import network_method

    method, _ = network_method(name)
    card = task_card(MEASURED_ON)
    made = method.learner(card, method.configure({}), SEEDS, total_frames=1, training_reward="team_mean")
    policy = made.policy()
    if not isinstance(policy, NetworkPolicy):
        return _usual_table(policy)
    found = signals(policy, card)
    if not found:
        return []
    rows = ["", f"What instructions tell before training (on {MEASURED_ON}, {len(SEEDS)} seeds; standard deviations "
            "over situations and over noise, and the ratio of their squares):", "",
            "| vertex | signal in training | noise | ratio | signal in evaluation | noise | ratio |",
            "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:]):
        cells = [f"{x.signal:.2g} | {x.noise:.2g} | {x.words}" for x in (one, other)]
        rows.append(f"| {one.name} | {' | '.join(cells)} |")
    return rows


def _usual_table(policy: Policy) -> list[str]:
    """What graphs that are drawn at every step need on average."""
    from rlnet_bench.networks.learned_graph import GraphPolicy

    if not isinstance(policy, GraphPolicy):
        return []
    rows = ["", f"The table above is the most that a graph can need. Before training (on {MEASURED_ON}, {len(SEEDS)} "
            "seeds, means over situations; `policy.usual()` measures a trained one):", "",
            "| graphs | edges between motors | longest chain | message bits down | hops |",
            "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for kind, sampled in (("drawn", True), ("the most likely", False)):
        x = policy.usual(sampled=sampled)
        rows.append(f"| {kind} | {x.edges:.2g} | {x.depth:.2g} | {x.bits_down:.3g} | {x.hops:.2g} |")
    return rows


def index() -> str:
    """The list of all pages."""
    items = [f"* [{name}]({name.removeprefix('zoo/')}.md): {load_network(name).description}" for name in zoo_ids()]
    return "\n".join([
        "# The zoo", "",
        "Every network that comes with the package. What the words mean stands in [networks.md](../networks.md), how "
        "they learn in", "[networks-training.md](../networks-training.md).", "", *items, "",
    ])  # fmt: skip


def write(folder: Path) -> None:
    """Write the pages and drawings of the whole zoo."""
    (folder / "index.md").write_text(index(), encoding="utf-8")
    for name in zoo_ids():
        short = name.removeprefix("zoo/")
        path = folder / f"{short}.md"
        path.write_text(page(name, path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
        (folder / f"{short}.svg").write_text(draw(expand(load_network(name), nominal_card(4))), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
