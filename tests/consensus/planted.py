"""Bugs of the round machine, planted on purpose: the simulations must find them."""

from __future__ import annotations

from dataclasses import replace

from consensus.tendermint import rounds
from consensus.tendermint.rounds import (
    FreshProposal,
    Input,
    Output,
    PolkaNil,
    RepeatedProposal,
    RoundState,
)


def forgetful(state: RoundState, input: Input) -> tuple[RoundState, tuple[Output, ...]]:
    """Prevote without looking at the lock."""
    if isinstance(input, FreshProposal | RepeatedProposal):
        forgotten, outputs = rounds.apply(replace(state, locked=None), input)
        return (replace(forgotten, locked=state.locked), outputs) if outputs else (state, ())
    return rounds.apply(state, input)


def unlocking(state: RoundState, input: Input) -> tuple[RoundState, tuple[Output, ...]]:
    """Let a polka for nil take the lock away."""
    after, outputs = rounds.apply(state, input)
    if isinstance(input, PolkaNil) and outputs:
        after = replace(after, locked=None)
    return after, outputs
