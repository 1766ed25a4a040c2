"""A change of a method's numbers needs a new version: losses after two updates against stored ones.

When this fails because the numbers were meant to change, raise the method's `version` and run
`python tests/baselines/test_numbers.py` to print the new block.
"""

from __future__ import annotations

import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import Method, find_method
from rlnet_bench.networks.method import network_method

# Everything is pinned: another default is another run id already, and needs no new version.
SETTINGS = {
    "num_envs": 4, "rollout_steps": 30, "epochs": 4, "minibatches": 2, "learning_rate": 0.01, "anneal": True,
    "gamma": 0.95, "gae_lambda": 0.95, "clip": 0.2, "entropy_weight": 0.01, "value_weight": 1.0, "max_grad_norm": 0.5,
    "normalise_advantage": "replica", "normalise_value": True, "share_parameters": True, "observe": "own",
    "hidden": [8], "critic_hidden": [8], "activation": "tanh",
    "updates_per_iteration": 2, "batch_size": 16, "buffer_size": 200, "learning_starts": 100, "n_step": 2,
    "target_tau": 0.1, "target_every": 1, "sequence_length": 6, "burn_in": 3, "epsilon_start": 1.0, "epsilon_end": 0.1,
    "epsilon_share": 0.5, "double_q": True, "mixer_hidden": 8, "hyper_hidden": 8, "actor_learning_rate": 0.01,
    "temperature_start": 0.2, "target_entropy": -1.0, "target_entropy_share": 0.3,
    "noise_start": 0.5, "noise_end": 0.1, "noise_share": 0.5,
    "saturation_weight": 0.1,
}  # fmt: skip
TALK = {"rounds": 2, "graph": "all"}
OWN: dict[str, dict[str, object]] = {  # where a method has settings of its own, or fewer choices
    "coma": {"critic_minibatches": 2, "td_lambda": 0.8}, "happo": {"share_parameters": False},
    "central": {"share_parameters": False}, "commnet": TALK, "gnn": TALK,
    "mat": {"hidden": [], "width": 8, "blocks": 1, "attention_heads": 2},
    "zoo/tag-mixed": {
        "motor.learning_rate": 0.01,
        "motor.settings": {
            k: SETTINGS[k]
            for k in ("gamma", "n_step", "batch_size", "buffer_size", "learning_starts", "updates_per_iteration",
                      "target_tau", "target_every", "max_grad_norm", "activation", "actor_learning_rate",
                      "temperature_start", "target_entropy", "target_entropy_share")
        } | {"rollout_steps": 1},
    },
    "zoo/cmat": {
        "encoder.action": {"continuous": 8, "per_subordinate": True}, "consensus.action": {"continuous": 8},
        "blocks": 1, "attention_heads": 2,
    },
    "zoo/learned-graph": {"depth_weight": 0.1, "blocks": 1, "attention_heads": 2},
}  # fmt: skip
ON_POLICY = ("ia2c", "maa2c", "coma", "happo", "happo gru", "central", "central gru", "commnet", "gnn", "mat")
VALUE_BASED, REPLAYED_ACTORS = ("iql", "vdn", "qmix", "qmix gru"), ("isac", "masac", "iddpg", "maddpg")
NETWORKS = ("zoo/tag-3ppo", "zoo/tag-mixed", "zoo/hammer", "zoo/cmat", "zoo/learned-graph")
NAMES = ("ippo", "mappo", "ippo gru", "mappo gru", *NETWORKS, *VALUE_BASED, *ON_POLICY, *REPLAYED_ACTORS)
TASKS = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1")
DISCRETE = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-discrete-v1")
CONTINUOUS = ("mpe/simple_spread-continuous-v1", "mpe/simple_speaker_listener-continuous-v1")
# (method, version, task) -> metrics of two replicas in the second iteration.
STORED: dict[tuple[str, int, str], dict[str, list[float]]] = {
    ("ippo", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.007118, -0.005936],
        "value_loss": [0.576945, 0.511992],
        "entropy": [1.592959, 1.591592],
        "clip_fraction": [0.010417, 0.001389],
        "gradient_norm": [0.151649, 0.156387],
    },
    ("ippo", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.017255, -0.011391],
        "value_loss": [0.507022, 0.680414],
        "entropy": [3.724558, 3.551497],
        "clip_fraction": [0.115625, 0.076042],
        "gradient_norm": [0.530763, 0.470538],
    },
    ("mappo", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.006314, -0.006443],
        "value_loss": [0.707233, 0.475166],
        "entropy": [1.592817, 1.590936],
        "clip_fraction": [0.005556, 0.002778],
        "gradient_norm": [0.150051, 0.147432],
    },
    ("mappo", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.015105, -0.010246],
        "value_loss": [0.541004, 0.800522],
        "entropy": [3.70967, 3.529444],
        "clip_fraction": [0.105208, 0.066667],
        "gradient_norm": [0.528335, 0.474714],
    },
    ("ippo gru", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.009507, -0.007803],
        "value_loss": [0.569903, 0.495547],
        "entropy": [1.576399, 1.592694],
        "clip_fraction": [0.084028, 0.002778],
        "gradient_norm": [0.131298, 0.132103],
    },
    ("ippo gru", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.013562, -0.009657],
        "value_loss": [0.629828, 0.867577],
        "entropy": [3.683626, 3.506189],
        "clip_fraction": [0.11875, 0.070833],
        "gradient_norm": [0.418514, 0.401196],
    },
    ("mappo gru", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.008222, -0.009672],
        "value_loss": [0.7049, 0.595605],
        "entropy": [1.579353, 1.59324],
        "clip_fraction": [0.055556, 0.006944],
        "gradient_norm": [0.134123, 0.1353],
    },
    ("mappo gru", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.012841, -0.0105],
        "value_loss": [0.597902, 0.754482],
        "entropy": [3.677794, 3.50562],
        "clip_fraction": [0.115625, 0.059375],
        "gradient_norm": [0.438395, 0.398838],
    },
    ("zoo/tag-3ppo", 3, "mpe/simple_spread-discrete-v1"): {
        "director.policy_loss": [-0.03846, -0.050532],
        "director.value_loss": [0.528231, 0.605973],
        "director.entropy": [7.242829, 7.597211],
        "director.clip_fraction": [0.255205, 0.295246],
        "director.gradient_norm": [1.355912, 1.180606],
        "manager#1.policy_loss": [-0.028313, -0.03941],
        "manager#1.value_loss": [0.653714, 0.560818],
        "manager#1.entropy": [7.351067, 7.395977],
        "manager#1.clip_fraction": [0.175, 0.135417],
        "manager#1.gradient_norm": [1.072143, 1.005602],
        "manager#2.policy_loss": [-0.041433, -0.050164],
        "manager#2.value_loss": [0.622207, 0.706868],
        "manager#2.entropy": [7.364589, 7.440962],
        "manager#2.clip_fraction": [0.19375, 0.170833],
        "manager#2.gradient_norm": [0.957521, 1.055853],
        "policy_loss": [-0.007103, -0.007965],
        "value_loss": [0.709202, 0.550102],
        "entropy": [1.594028, 1.5994],
        "clip_fraction": [0.002083, 0.003472],
        "gradient_norm": [0.150537, 0.156098],
    },
    ("zoo/tag-3ppo", 3, "mpe/simple_speaker_listener-continuous-v1"): {
        "director.policy_loss": [-0.046033, -0.036156],
        "director.value_loss": [0.549031, 0.861086],
        "director.entropy": [7.345802, 7.087963],
        "director.clip_fraction": [0.287081, 0.224246],
        "director.gradient_norm": [1.393856, 1.329966],
        "manager#1.policy_loss": [-0.034873, -0.035846],
        "manager#1.value_loss": [0.568052, 0.925205],
        "manager#1.entropy": [7.378572, 7.453679],
        "manager#1.clip_fraction": [0.158333, 0.110417],
        "manager#1.gradient_norm": [0.786252, 0.890589],
        "manager#2.policy_loss": [-0.030455, -0.037586],
        "manager#2.value_loss": [0.590027, 0.953303],
        "manager#2.entropy": [7.358428, 7.379438],
        "manager#2.clip_fraction": [0.214583, 0.139583],
        "manager#2.gradient_norm": [1.025064, 0.957233],
        "policy_loss": [-0.019094, -0.011088],
        "value_loss": [0.548575, 0.70904],
        "entropy": [3.735808, 3.555494],
        "clip_fraction": [0.11875, 0.040625],
        "gradient_norm": [0.510469, 0.490069],
    },
    ("zoo/tag-mixed", 3, "mpe/simple_spread-discrete-v1"): {
        "director.policy_loss": [-0.055903, -0.074858],
        "director.value_loss": [0.628513, 0.393464],
        "director.entropy": [7.125387, 7.280394],
        "director.clip_fraction": [0.340035, 0.378613],
        "director.gradient_norm": [1.665569, 1.913579],
        "motor.critic_loss": [7.188897, 2.457352],
        "motor.critic_gradient_norm": [5.332881, 2.964177],
        "motor.actor_loss": [2.24353, 2.563119],
        "motor.actor_gradient_norm": [0.093029, 0.068313],
        "motor.temperature_loss": [-0.504498, -1.592374],
        "motor.temperature_gradient_norm": [0.334634, 0.792453],
        "motor.temperature": [0.139055, 0.132725],
        "motor.entropy": [0.759317, 1.275284],
    },
    ("zoo/tag-mixed", 3, "mpe/simple_speaker_listener-continuous-v1"): {
        "director.policy_loss": [-0.063632, -0.057891],
        "director.value_loss": [0.535639, 0.672933],
        "director.entropy": [7.246668, 7.155997],
        "director.clip_fraction": [0.257867, 0.288733],
        "director.gradient_norm": [1.84204, 2.013036],
        "motor.critic_loss": [19.257406, 5.033536],
        "motor.critic_gradient_norm": [15.097493, 4.283782],
        "motor.actor_loss": [3.893394, 3.107224],
        "motor.actor_gradient_norm": [0.222215, 0.246712],
        "motor.temperature_loss": [-12.879826, -12.798203],
        "motor.temperature_gradient_norm": [6.367955, 6.324968],
        "motor.temperature": [0.132725, 0.132725],
        "motor.entropy": [2.367954, 2.324968],
    },
    ("iql", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [9.897147, 4.513309],
        "value": [-0.05038, -0.041395],
        "gradient_norm": [4.249485, 2.476189],
    },
    ("iql", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [39.131702, 10.109731],
        "value": [-0.055357, -0.063854],
        "gradient_norm": [7.89151, 3.370948],
    },
    ("vdn", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [9.370127, 4.131497],
        "value": [-0.050197, -0.040732],
        "gradient_norm": [12.344042, 7.005731],
    },
    ("vdn", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [38.574245, 9.876017],
        "value": [-0.055332, -0.063846],
        "gradient_norm": [15.644436, 6.591217],
    },
    ("qmix", 2, "mpe/simple_spread-discrete-v1"): {
        "loss": [8.128061, 4.42095],
        "value": [-0.033843, -0.044079],
        "gradient_norm": [8.60888, 6.540918],
    },
    ("qmix", 2, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [29.220558, 9.908736],
        "value": [-0.058615, -0.062523],
        "gradient_norm": [14.842929, 6.689062],
    },
    ("qmix gru", 2, "mpe/simple_spread-discrete-v1"): {
        "loss": [6.926867, 4.252612],
        "value": [-0.033601, -0.047053],
        "gradient_norm": [7.639341, 5.869113],
    },
    ("qmix gru", 2, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [30.972107, 5.343572],
        "value": [-0.053554, -0.078128],
        "gradient_norm": [15.347894, 4.632236],
    },
    ("ia2c", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-2.389431, -2.696506],
        "value_loss": [0.691706, 0.499212],
        "entropy": [1.609186, 1.608987],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.205658, 0.133565],
    },
    ("ia2c", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-3.475011, -4.396352],
        "value_loss": [0.552193, 1.064018],
        "entropy": [3.655765, 3.685753],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.745588, 0.501746],
    },
    ("maa2c", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-2.036184, -2.048333],
        "value_loss": [0.298323, 0.227209],
        "entropy": [1.609154, 1.608975],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.174823, 0.101632],
    },
    ("maa2c", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-4.066185, -4.284982],
        "value_loss": [0.928265, 0.923558],
        "entropy": [3.655768, 3.68575],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.862503, 0.501902],
    },
    ("coma", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.033105, -0.013328],
        "value_loss": [0.886788, 0.539292],
        "entropy": [1.60928, 1.609086],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.137956, 0.167318],
    },
    ("coma", 2, "mpe/simple_speaker_listener-discrete-v1"): {
        "policy_loss": [-0.035257, -0.09103],
        "value_loss": [0.502867, 0.823735],
        "entropy": [1.353738, 1.353607],
        "clip_fraction": [0.0, 0.0],
        "gradient_norm": [0.153154, 0.188472],
    },
    ("happo", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.034099, -0.036214],
        "value_loss": [0.701618, 0.534124],
        "entropy": [1.598265, 1.596746],
        "clip_fraction": [0.002083, 0.008333],
        "gradient_norm": [0.214443, 0.234887],
    },
    ("happo", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.03508, -0.021241],
        "value_loss": [0.550805, 0.80928],
        "entropy": [3.660359, 3.521378],
        "clip_fraction": [0.1125, 0.063542],
        "gradient_norm": [0.639619, 0.675843],
    },
    ("happo gru", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.060717, -0.057882],
        "value_loss": [0.707936, 0.652632],
        "entropy": [1.591406, 1.593886],
        "clip_fraction": [0.01875, 0.03125],
        "gradient_norm": [0.179932, 0.219056],
    },
    ("happo gru", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.033906, -0.021308],
        "value_loss": [0.618968, 0.755718],
        "entropy": [3.661032, 3.544452],
        "clip_fraction": [0.080208, 0.084375],
        "gradient_norm": [0.562564, 0.537096],
    },
    ("central", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.05158, -0.060191],
        "value_loss": [0.411643, 0.779707],
        "entropy": [4.8093, 4.810146],
        "clip_fraction": [0.058333, 0.095833],
        "gradient_norm": [0.276266, 0.296075],
    },
    ("central", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.02914, -0.027452],
        "value_loss": [0.751474, 0.854828],
        "entropy": [7.400901, 7.081379],
        "clip_fraction": [0.254167, 0.197917],
        "gradient_norm": [0.857406, 0.996389],
    },
    ("central gru", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.047377, -0.047582],
        "value_loss": [0.392548, 0.62732],
        "entropy": [4.817079, 4.814776],
        "clip_fraction": [0.041667, 0.054167],
        "gradient_norm": [0.245969, 0.244644],
    },
    ("central gru", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.025061, -0.030963],
        "value_loss": [0.504259, 0.764462],
        "entropy": [7.38801, 7.151124],
        "clip_fraction": [0.210417, 0.147917],
        "gradient_norm": [0.818853, 0.765439],
    },
    ("commnet", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.008132, -0.008517],
        "value_loss": [0.692334, 0.543298],
        "entropy": [1.592543, 1.588401],
        "clip_fraction": [0.001389, 0.004167],
        "gradient_norm": [0.141042, 0.147162],
    },
    ("commnet", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.017109, -0.015633],
        "value_loss": [0.553492, 0.816272],
        "entropy": [3.694483, 3.524272],
        "clip_fraction": [0.127083, 0.1125],
        "gradient_norm": [0.501491, 0.503979],
    },
    ("gnn", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.012812, -0.013424],
        "value_loss": [0.704682, 0.555581],
        "entropy": [1.592369, 1.586929],
        "clip_fraction": [0.05625, 0.038889],
        "gradient_norm": [0.157516, 0.154287],
    },
    ("gnn", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.021823, -0.017644],
        "value_loss": [0.539975, 0.785103],
        "entropy": [3.698391, 3.5081],
        "clip_fraction": [0.184375, 0.127083],
        "gradient_norm": [0.540257, 0.521049],
    },
    ("mat", 1, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.009053, -0.006732],
        "value_loss": [0.652903, 0.401607],
        "entropy": [1.586395, 1.59024],
        "clip_fraction": [0.0625, 0.023611],
        "gradient_norm": [0.866174, 0.770656],
    },
    ("mat", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.016661, -0.011901],
        "value_loss": [0.704398, 0.520552],
        "entropy": [3.731752, 3.527097],
        "clip_fraction": [0.205208, 0.155208],
        "gradient_norm": [1.068172, 1.500387],
    },
    ("isac", 1, "mpe/simple_spread-discrete-v1"): {
        "critic_loss": [18.497471, 7.320691],
        "critic_gradient_norm": [6.967502, 3.923081],
        "actor_loss": [0.129548, 0.192662],
        "actor_gradient_norm": [0.13721, 0.178708],
        "temperature_loss": [-1.838595, -1.837093],
        "temperature_gradient_norm": [1.124912, 1.123994],
        "temperature": [0.193124, 0.193124],
        "entropy": [1.607743, 1.606825],
    },
    ("isac", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "critic_loss": [49.653877, 14.478697],
        "critic_gradient_norm": [18.206985, 9.561003],
        "actor_loss": [-0.046132, 0.143217],
        "actor_gradient_norm": [0.487264, 0.353186],
        "temperature_loss": [-10.928984, -10.846572],
        "temperature_gradient_norm": [6.686625, 6.636448],
        "temperature": [0.193124, 0.193124],
        "entropy": [2.686625, 2.636448],
    },
    ("masac", 1, "mpe/simple_spread-discrete-v1"): {
        "critic_loss": [18.383089, 7.298128],
        "critic_gradient_norm": [9.313313, 5.577909],
        "actor_loss": [0.296928, 0.301936],
        "actor_gradient_norm": [0.098089, 0.126668],
        "temperature_loss": [-1.837513, -1.839482],
        "temperature_gradient_norm": [1.12425, 1.125453],
        "temperature": [0.193124, 0.193124],
        "entropy": [1.607082, 1.608285],
    },
    ("masac", 1, "mpe/simple_speaker_listener-continuous-v1"): {
        "critic_loss": [48.37619, 12.792454],
        "critic_gradient_norm": [24.587841, 10.920753],
        "actor_loss": [-0.205823, -0.095972],
        "actor_gradient_norm": [0.39776, 0.360712],
        "temperature_loss": [-10.946112, -10.877272],
        "temperature_gradient_norm": [6.697064, 6.65515],
        "temperature": [0.193124, 0.193124],
        "entropy": [2.697064, 2.655151],
    },
    ("iddpg", 2, "mpe/simple_spread-continuous-v1"): {
        "critic_loss": [7.910539, 2.546129],
        "critic_gradient_norm": [8.393432, 4.221459],
        "actor_loss": [0.24913, 0.300332],
        "actor_gradient_norm": [0.486268, 0.643685],
    },
    ("iddpg", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "critic_loss": [22.852442, 6.786858],
        "critic_gradient_norm": [12.80591, 6.671436],
        "actor_loss": [0.335196, -0.472739],
        "actor_gradient_norm": [0.603876, 0.743429],
    },
    ("maddpg", 2, "mpe/simple_spread-continuous-v1"): {
        "critic_loss": [7.631317, 2.113901],
        "critic_gradient_norm": [12.01203, 4.959247],
        "actor_loss": [0.305593, 0.311675],
        "actor_gradient_norm": [0.142734, 0.207781],
    },
    ("maddpg", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "critic_loss": [22.321201, 6.462266],
        "critic_gradient_norm": [16.479261, 8.48324],
        "actor_loss": [-0.009401, 0.297909],
        "actor_gradient_norm": [0.354825, 0.381004],
    },
    ("zoo/hammer", 3, "mpe/simple_spread-discrete-v1"): {
        "encoder.policy_loss": [0.0, 0.0],
        "encoder.value_loss": [0.0, 0.0],
        "encoder.entropy": [0.0, 0.0],
        "encoder.clip_fraction": [0.0, 0.0],
        "encoder.gradient_norm": [0.00378, 0.003356],
        "policy_loss": [-0.007708, -0.010317],
        "value_loss": [0.566395, 0.600725],
        "entropy": [1.592498, 1.591974],
        "clip_fraction": [0.009028, 0.013889],
        "gradient_norm": [0.153745, 0.149127],
    },
    ("zoo/hammer", 3, "mpe/simple_speaker_listener-continuous-v1"): {
        "encoder.policy_loss": [0.0, 0.0],
        "encoder.value_loss": [0.0, 0.0],
        "encoder.entropy": [0.0, 0.0],
        "encoder.clip_fraction": [0.0, 0.0],
        "encoder.gradient_norm": [0.006305, 0.010737],
        "policy_loss": [-0.02078, -0.010463],
        "value_loss": [0.641924, 0.734329],
        "entropy": [3.694545, 3.583454],
        "clip_fraction": [0.109375, 0.088542],
        "gradient_norm": [0.507089, 0.496126],
    },
    ("zoo/cmat", 3, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.026838, -0.017578],
        "value_loss": [0.510528, 0.453264],
        "entropy": [1.595669, 1.597659],
        "clip_fraction": [0.1375, 0.095833],
        "gradient_norm": [1.512533, 1.61218],
    },
    ("zoo/cmat", 3, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.017449, -0.022735],
        "value_loss": [0.600093, 0.425461],
        "entropy": [3.674423, 3.5261],
        "clip_fraction": [0.241667, 0.191667],
        "gradient_norm": [1.6986, 2.016292],
    },
    ("zoo/learned-graph", 3, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.021621, -0.032013],
        "value_loss": [0.682058, 0.602352],
        "entropy": [2.878711, 2.872232],
        "clip_fraction": [0.00625, 0.0],
        "gradient_norm": [0.394542, 0.446936],
    },
    ("zoo/learned-graph", 3, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.024294, -0.028823],
        "value_loss": [0.543606, 0.805476],
        "entropy": [4.407005, 4.196867],
        "clip_fraction": [0.134375, 0.10625],
        "gradient_norm": [0.689113, 0.623904],
    },
}


def method_of(name: str) -> type[Method]:
    """A baseline, or a network of the zoo."""
    return network_method(name)[0] if name.startswith("zoo/") else find_method(name)


def tasks_of(name: str) -> tuple[str, ...]:
    """Two tasks that it can run on."""
    able = method_of(name.split()[0]).capabilities
    return TASKS if able.continuous and able.discrete else DISCRETE if able.discrete else CONTINUOUS


def numbers(name: str, task: str) -> dict[str, list[float]]:
    """Metrics of seeds 0 and 1 in the second iteration; ``NAME gru`` remembers."""
    method, _, memory = name.partition(" ")
    found = method_of(method)
    settings = {k: v for k, v in SETTINGS.items() if k in found.Config.model_fields}
    config = found.configure(settings | OWN.get(method, {}) | ({"memory": memory} if memory else {}))
    learner = found.learner(task_card(task), config, (0, 1), total_frames=1200, training_reward="team_mean")
    learner.iterate()
    return {name: value.tolist() for name, value in learner.iterate().items()}


@pytest.mark.parametrize("key", list(STORED), ids=lambda key: f"{key[0]}-v{key[1]}-{key[2]}")
def test_numbers_are_those_of_this_version(key: tuple[str, int, str]) -> None:
    name, version, task = key
    assert method_of(name.split()[0]).version == version, "a new version: store its numbers here (see above)"
    found = numbers(name, task)
    assert found.keys() == STORED[key].keys()
    for metric, expected in STORED[key].items():
        assert found[metric] == pytest.approx(expected, rel=1e-4, abs=1e-4), metric


@pytest.mark.parametrize("name", NAMES)
def test_every_task_of_the_fingerprint_is_stored(name: str) -> None:
    assert {k[2] for k in STORED if k[0] == name} == set(tasks_of(name))


if __name__ == "__main__":
    for n in NAMES:
        for t in tasks_of(n):
            rounded = {k: [round(x, 6) for x in v] for k, v in numbers(n, t).items()}
            print(f"    {(n, method_of(n.split()[0]).version, t)}: {rounded},")
