"""``references.bib``: what a paper that uses these numbers should cite."""

from __future__ import annotations

import re

from rlnet_bench.analysis.estimates import Estimates

STATISTICS = {
    "agarwal2021precipice": (
        "inproceedings", "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
        "Agarwal, Rishabh and Schwarzer, Max and Castro, Pablo Samuel and Courville, Aaron and Bellemare, Marc G.",
        "booktitle = {Advances in Neural Information Processing Systems}", 2021,
    ),
    "gorsane2022protocol": (
        "inproceedings", "Towards a Standardised Performance Evaluation Protocol for Cooperative {MARL}",
        "Gorsane, Rihab and Mahjoub, Omayma and de Kock, Ruan and Dubb, Roland and Singh, Siddarth and Pretorius, Arnu",
        "booktitle = {Advances in Neural Information Processing Systems}", 2022,
    ),
    "hesterberg2015bootstrap": (
        "article",
        "What Teachers Should Know About the Bootstrap: Resampling in the Undergraduate Statistics Curriculum",
        "Hesterberg, Tim C.", "journal = {The American Statistician}", 2015,
    ),
    "newcombe2006mannwhitney": (
        "article", "Confidence intervals for an effect size measure based on the {Mann-Whitney} statistic. Part 2",
        "Newcombe, Robert G.", "journal = {Statistics in Medicine}", 2006,
    ),
    "westfall1993resampling": (
        "book", "Resampling-Based Multiple Testing: Examples and Methods for p-Value Adjustment",
        "Westfall, Peter H. and Young, S. Stanley", "publisher = {Wiley}", 1993,
    ),
}  # fmt: skip

FAMILIES = {
    "mpe": {
        "lowe2017maddpg": (
            "inproceedings", "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
            "Lowe, Ryan and Wu, Yi and Tamar, Aviv and Harb, Jean and Abbeel, Pieter and Mordatch, Igor",
            "booktitle = {Advances in Neural Information Processing Systems}", 2017,
        ),
        "mordatch2018emergence": (
            "inproceedings", "Emergence of Grounded Compositional Language in Multi-Agent Populations",
            "Mordatch, Igor and Abbeel, Pieter", "booktitle = {AAAI Conference on Artificial Intelligence}", 2018,
        ),
    },
    "lbf": {
        "papoudakis2021benchmarking": (
            "inproceedings", "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks",
            "Papoudakis, Georgios and Christianos, Filippos and Sch{\\\"a}fer, Lukas and Albrecht, Stefano V.",
            "booktitle = {NeurIPS Datasets and Benchmarks Track}", 2021,
        ),
        "christianos2020shared": (
            "inproceedings", "Shared Experience Actor-Critic for Multi-Agent Reinforcement Learning",
            "Christianos, Filippos and Sch{\\\"a}fer, Lukas and Albrecht, Stefano V.",
            "booktitle = {Advances in Neural Information Processing Systems}", 2020,
        ),
    },
    "vmas": {
        "bettini2022vmas": (
            "inproceedings", "{VMAS}: A Vectorized Multi-Agent Simulator for Collective Robot Learning",
            "Bettini, Matteo and Kortvelesy, Ryan and Blumenkamp, Jan and Prorok, Amanda",
            "booktitle = {International Symposium on Distributed Autonomous Robotic Systems}", 2022,
        ),
    },
    "pettingzoo": {
        "terry2021pettingzoo": (
            "inproceedings", "{PettingZoo}: Gym for Multi-Agent Reinforcement Learning",
            "Terry, J. K. and Black, Benjamin and Grammel, Nathaniel and others",
            "booktitle = {Advances in Neural Information Processing Systems}", 2021,
        ),
    },
}  # fmt: skip

METHODS = {
    "dewitt2020ippo": (
        "article", "Is Independent Learning All You Need in the {StarCraft} Multi-Agent Challenge?",
        "de Witt, Christian Schroeder and Gupta, Tarun and Makoviichuk, Denys and Makoviychuk, Viktor and others",
        "journal = {arXiv preprint arXiv:2011.09533}", 2020,
    ),
    "foerster2018coma": (
        "inproceedings", "Counterfactual Multi-Agent Policy Gradients",
        "Foerster, Jakob and Farquhar, Gregory and Afouras, Triantafyllos and Nardelli, Nantas and Whiteson, Shimon",
        "booktitle = {AAAI Conference on Artificial Intelligence}", 2018,
    ),
    "gilmer2017mpnn": (
        "inproceedings", "Neural Message Passing for Quantum Chemistry",
        "Gilmer, Justin and Schoenholz, Samuel S. and Riley, Patrick F. and Vinyals, Oriol and Dahl, George E.",
        "booktitle = {International Conference on Machine Learning}", 2017,
    ),
    "kuba2022happo": (
        "inproceedings", "Trust Region Policy Optimisation in Multi-Agent Reinforcement Learning",
        "Kuba, Jakub Grudzien and Chen, Ruiqing and Wen, Muning and Wen, Ying and Sun, Fanglei and others",
        "booktitle = {International Conference on Learning Representations}", 2022,
    ),
    "haarnoja2018sac": (
        "article", "Soft Actor-Critic Algorithms and Applications",
        "Haarnoja, Tuomas and Zhou, Aurick and Hartikainen, Kristian and Tucker, George and Ha, Sehoon and others",
        "journal = {arXiv preprint arXiv:1812.05905}", 2018,
    ),
    "lillicrap2016ddpg": (
        "inproceedings", "Continuous Control with Deep Reinforcement Learning",
        "Lillicrap, Timothy P. and Hunt, Jonathan J. and Pritzel, Alexander and Heess, Nicolas and others",
        "booktitle = {International Conference on Learning Representations}", 2016,
    ),
    "lowe2017maddpg": FAMILIES["mpe"]["lowe2017maddpg"],
    "mnih2016a3c": (
        "inproceedings", "Asynchronous Methods for Deep Reinforcement Learning",
        "Mnih, Volodymyr and Badia, Adri{\\`a} Puigdom{\\`e}nech and Mirza, Mehdi and Graves, Alex and others",
        "booktitle = {International Conference on Machine Learning}", 2016,
    ),
    "papoudakis2021benchmarking": FAMILIES["lbf"]["papoudakis2021benchmarking"],
    "rashid2018qmix": (
        "inproceedings", "{QMIX}: Monotonic Value Function Factorisation for Deep Multi-Agent Reinforcement Learning",
        "Rashid, Tabish and Samvelyan, Mikayel and Schroeder, Christian and Farquhar, Gregory and others",
        "booktitle = {International Conference on Machine Learning}", 2018,
    ),
    "schulman2017ppo": (
        "article", "Proximal Policy Optimization Algorithms",
        "Schulman, John and Wolski, Filip and Dhariwal, Prafulla and Radford, Alec and Klimov, Oleg",
        "journal = {arXiv preprint arXiv:1707.06347}", 2017,
    ),
    "sukhbaatar2016commnet": (
        "inproceedings", "Learning Multiagent Communication with Backpropagation",
        "Sukhbaatar, Sainbayar and Szlam, Arthur and Fergus, Rob",
        "booktitle = {Advances in Neural Information Processing Systems}", 2016,
    ),
    "sunehag2018vdn": (
        "inproceedings", "Value-Decomposition Networks For Cooperative Multi-Agent Learning Based On Team Reward",
        "Sunehag, Peter and Lever, Guy and Gruslys, Audrunas and Czarnecki, Wojciech Marian and others",
        "booktitle = {International Conference on Autonomous Agents and MultiAgent Systems}", 2018,
    ),
    "tan1993iql": (
        "inproceedings", "Multi-Agent Reinforcement Learning: Independent vs. Cooperative Agents", "Tan, Ming",
        "booktitle = {International Conference on Machine Learning}", 1993,
    ),
    "wen2022mat": (
        "inproceedings", "Multi-Agent Reinforcement Learning is a Sequence Modeling Problem",
        "Wen, Muning and Kuba, Jakub Grudzien and Lin, Runji and Zhang, Weinan and Wen, Ying and Wang, Jun and others",
        "booktitle = {Advances in Neural Information Processing Systems}", 2022,
    ),
    "yu2022mappo": (
        "inproceedings", "The Surprising Effectiveness of {PPO} in Cooperative Multi-Agent Games",
        "Yu, Chao and Velu, Akash and Vinitsky, Eugene and Gao, Jiaxuan and Wang, Yu and Bayen, Alexandre and Wu, Yi",
        "booktitle = {NeurIPS Datasets and Benchmarks Track}", 2022,
    ),
}  # fmt: skip

_ENTRY = re.compile(r"@\w+\s*\{\s*([^,\s{}]+)\s*,")
_WHOLE = re.compile(r"@\w+\s*\{.*\}\s*", re.DOTALL)


def bibtex(estimates: Estimates) -> str:
    """BibTeX of the methods (an entry of their own, or a key of :data:`METHODS`), the task families and the statistics,
    each key once."""
    entries: dict[str, str] = {}
    for info in estimates.results.methods:
        text = info.citation.strip()
        found = _ENTRY.match(text)
        if found and _WHOLE.fullmatch(text):
            entries.setdefault(found[1], text)
        elif text in METHODS:
            entries.setdefault(text, _entry(text, *METHODS[text]))
    families = dict.fromkeys(f.card.family for f in estimates.facts)
    for family in families:
        for key, parts in FAMILIES.get(family, {}).items():
            entries.setdefault(key, _entry(key, *parts))
    for key, parts in STATISTICS.items():
        entries.setdefault(key, _entry(key, *parts))
    return "\n\n".join(entries.values()) + "\n"


def _entry(key: str, kind: str, title: str, author: str, where: str, year: int) -> str:
    return f"@{kind}{{{key},\n  title = {{{title}}},\n  author = {{{author}}},\n  {where},\n  year = {{{year}}},\n}}"
