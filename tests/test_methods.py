"""Finding, registering and configuring methods; every mistake is a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, ImpossibleCell, UnknownName
from rlnet_bench.methods import Method, check_possible, method_ids, register
from rlnet_bench.typed import find_method

SPREAD = "mpe/simple_spread-discrete-v1"
OURS = '''
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Capabilities, Method

class Mine(Method):
    """Mine."""
    Config = PpoConfig
    capabilities = Capabilities(discrete=False)
'''


def test_catalogue_holds_the_baselines() -> None:
    assert {"ippo", "mappo", "random", "uncoordinated", "coordinated"} <= set(method_ids())


def test_every_method_that_learns_cites_its_paper() -> None:
    from rlnet_bench.reports.bibliography import METHODS

    cited = {name: find_method(name).citation for name in method_ids() if find_method(name).capabilities.trains}
    assert {name: key for name, key in cited.items() if key not in METHODS} == {}


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'mapo'\. Did you mean 'mappo'\? `rlnet-bench list methods`"):
        find_method("mapo")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 1}, r"^s: ippo: unknown key 'learning_rat'\. Did you mean 'learning_rate'\?$"),
        ({"zzz": 1}, r"unknown key 'zzz'\. Known keys: num_envs, "),
        ({"num_envs": 0}, r"num_envs: input should be greater than 0, found 0\."),
        ({"num_envs": "8"}, r"num_envs: input should be a valid integer, found '8'\."),
        ({"num_envs": True}, r"num_envs: .*found True"),
        ({"learning_rate": "5e-4"}, r"learning_rate: input should be a valid number, found '5e-4'\."),
        ({"learning_rate": float("nan")}, r"learning_rate: .*finite.*found nan"),
        ({"gamma": 1.5}, r"gamma: input should be less than or equal to 1, found 1\.5"),
        ({"activation": "gelu"}, r"activation: input should be 'tanh' or 'relu', found 'gelu'"),
        ({"hidden": [0]}, r"hidden\.0: input should be greater than 0"),
        ({"gamma": 2, "clip": -1}, r"gamma: .* clip: "),
    ],
)
def test_wrong_settings_are_sentences(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        find_method("ippo").configure(settings, "s: ")


def test_configurations_survive_json_and_are_frozen() -> None:
    method = find_method("ippo")
    config = method.configure({"hidden": [4, 5], "learning_rate": 1})
    assert method.configure(config.model_dump(mode="json")) == config
    with pytest.raises(Exception, match="frozen"):
        config.gamma = 0.5  # type: ignore[attr-defined]


def test_a_method_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    file.write_text(OURS)
    method = find_method(f"{file}:Mine")
    assert method.id == "mine" and len(method.source_hash) == 16
    with pytest.raises(ImpossibleCell, match=rf"impossible cell mine x {SPREAD}: mine needs continuous actions"):
        check_possible(method, task_card(SPREAD), method.configure({}))


def test_wrong_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no file .*absent\.py"):
        find_method("absent.py:Mine")
    (tmp_path / "broken.py").write_text("1 +\n")
    with pytest.raises(BadInput, match=r"broken\.py: importing it raised SyntaxError"):
        find_method(f"{tmp_path}/broken.py:Mine")
    (tmp_path / "other.py").write_text(OURS.replace("Mine", "Other"))
    with pytest.raises(BadInput, match=r"'Mine' is not a Method in .*other\.py; found \['Other'\]"):
        find_method(f"{tmp_path}/other.py:Mine")


def test_an_id_is_taken_once() -> None:
    with pytest.raises(BadInput, match=r"method id 'ippo' is taken by rlnet_bench\.baselines\.ippo\.Ippo"):

        @register("ippo", version=1, summary="another")
        class Another(Method):
            pass


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys; from rlnet_bench.runs.plan import make_plan; from rlnet_bench.runs.suite import load_suite;"
        "make_plan(load_suite('quick')); import rlnet_bench.runs.watch, rlnet_bench.runs.worker;"
        "print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
