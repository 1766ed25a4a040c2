"""IPPO on JaxMARL's simple_spread: its environment, and a PPO of ours in JAX with the settings of its script.

Runs in an environment of its own (``jaxmarl.txt``). One jitted call is an iteration: a rollout under ``lax.scan``, then
epochs x minibatches under ``lax.scan``; seeds side by side under ``vmap``. Usage: ``jaxmarl_ippo.py ENVS SEEDS``.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxmarl
import optax
from turns import Turns

STEPS, EPOCHS, MINIBATCHES, HIDDEN = 128, 4, 4, 64
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, NORM, RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5, 2.5e-4

env: Any = jaxmarl.make("MPE_simple_spread_v3")
optimiser = optax.chain(optax.clip_by_global_norm(NORM), optax.adam(RATE, eps=1e-5))


class Rows(NamedTuple):
    """What an update needs of every step of every agent."""

    observation: jax.Array
    action: jax.Array
    log_p: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


def network(key: jax.Array, sizes: tuple[int, ...], gain: float) -> list[tuple[jax.Array, jax.Array]]:
    """Orthogonal weights, zero biases."""
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:])):
        key, own = jax.random.split(key)
        scale = gain if i == len(sizes) - 2 else 2**0.5
        weight = jax.nn.initializers.orthogonal(scale)(own, (fan_in, fan_out))
        layers.append((weight, jnp.zeros(fan_out)))
    return layers


def apply(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """A tanh MLP."""
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def batch(by_agent: dict[str, jax.Array]) -> jax.Array:
    """{agent: [E, ...]} -> [E * N, ...]."""
    x = jnp.stack([by_agent[a] for a in env.agents], axis=1)
    return x.reshape(-1, *x.shape[2:])


def start(key: jax.Array, envs: int) -> tuple[Any, ...]:
    """Everything that one iteration hands to the next."""
    key, a, c, e = jax.random.split(key, 4)
    width = env.observation_space(env.agents[0]).shape[0]
    actions = env.action_space(env.agents[0]).n
    parameters = {
        "actor": network(a, (width, HIDDEN, HIDDEN, actions), 0.01),
        "critic": network(c, (width, HIDDEN, HIDDEN, 1), 1.0),
    }
    observation, state = jax.vmap(env.reset)(jax.random.split(e, envs))
    return parameters, optimiser.init(parameters), state, batch(observation), key


def iteration(carry: tuple[Any, ...], envs: int) -> tuple[Any, ...]:
    """One rollout and its updates."""
    parameters, moments, state, observation, key = carry
    agents = len(env.agents)

    def step(carry: tuple[Any, ...], _: None) -> tuple[Any, Rows]:
        state, observation, key = carry
        key, act, move = jax.random.split(key, 3)
        logits = apply(parameters["actor"], observation)
        action = jax.random.categorical(act, logits)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=1)[:, 0]
        value = apply(parameters["critic"], observation)[:, 0]
        by_agent = dict(zip(env.agents, action.reshape(envs, agents).T))
        after, state, reward, done, _ = jax.vmap(env.step)(jax.random.split(move, envs), state, by_agent)
        rows = Rows(observation, action, log_p, value, batch(reward), batch(done))
        return (state, batch(after), key), rows

    (state, observation, key), rows = jax.lax.scan(step, (state, observation, key), None, STEPS)
    last = apply(parameters["critic"], observation)[:, 0]

    def back(carry: tuple[jax.Array, jax.Array], row: Rows) -> tuple[Any, jax.Array]:
        advantage, following = carry
        alive = 1.0 - row.done
        delta = row.reward + GAMMA * following * alive - row.value
        advantage = delta + GAMMA * LAMBDA * alive * advantage
        return (advantage, row.value), advantage

    _, advantage = jax.lax.scan(back, (jnp.zeros_like(last), last), rows, reverse=True, unroll=16)
    data = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (rows, advantage, advantage + rows.value))

    def loss(parameters: Any, part: tuple[Rows, jax.Array, jax.Array]) -> jax.Array:
        row, advantage, target = part
        log_p = jax.nn.log_softmax(apply(parameters["actor"], row.observation))
        chosen = jnp.take_along_axis(log_p, row.action[:, None], axis=1)[:, 0]
        entropy = -(jnp.exp(log_p) * log_p).sum(axis=1).mean()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = jnp.exp(chosen - row.log_p)
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
        value = apply(parameters["critic"], row.observation)[:, 0]
        near = row.value + jnp.clip(value - row.value, -CLIP, CLIP)
        error = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
        return -surrogate + VALUE * error - ENTROPY * entropy

    def minibatch(carry: tuple[Any, Any], part: Any) -> tuple[Any, None]:
        parameters, moments = carry
        change, moments = optimiser.update(jax.grad(loss)(parameters, part), moments, parameters)
        return (optax.apply_updates(parameters, change), moments), None

    def epoch(carry: tuple[Any, Any, jax.Array], _: None) -> tuple[Any, None]:
        parameters, moments, key = carry
        key, own = jax.random.split(key)
        order = jax.random.permutation(own, STEPS * envs * agents)
        shuffled = jax.tree.map(lambda x: jnp.take(x, order, axis=0), data)
        parts = jax.tree.map(lambda x: x.reshape(MINIBATCHES, -1, *x.shape[1:]), shuffled)
        (parameters, moments), _ = jax.lax.scan(minibatch, (parameters, moments), parts)
        return (parameters, moments, key), None

    (parameters, moments, key), _ = jax.lax.scan(epoch, (parameters, moments, key), None, EPOCHS)
    return parameters, moments, state, observation, key


def main(envs: int, seeds: int) -> None:
    """Train for ever, in turns."""
    turns = Turns()
    keys = jax.random.split(jax.random.PRNGKey(0), seeds)
    if seeds == 1:
        carry, once = start(keys[0], envs), jax.jit(lambda c: iteration(c, envs), donate_argnums=0)
    else:
        carry = jax.vmap(lambda k: start(k, envs))(keys)
        once = jax.jit(jax.vmap(lambda c: iteration(c, envs)), donate_argnums=0)
    while True:
        carry = jax.block_until_ready(once(carry))
        turns(STEPS * envs * seeds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
