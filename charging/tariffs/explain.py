"""How a cost came about: what was used before is rated again in its order, and the last use step by step.

What is kept of a rating is its version and its quantity, not the state in which it was made; the state follows from
the uses before it. So an explanation is also a proof: it computes the cost a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from charging.rating import Rated, RatingState, Step
from charging.tariffs.usage import rate_usage
from charging.tariffs.version import TariffVersion


@dataclass(frozen=True, slots=True)
class Use:
    """``quantity`` units used at ``at`` (aware UTC), rated by ``version``.

    ``session``: it is a session of its own, such as a call; otherwise it goes on with the session before.
    """

    reference: str
    version: TariffVersion
    quantity: int
    at: datetime
    destination: str | None = None
    session: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of a use, whose costs sum to ``cost_micros``; ``before`` is the state that ``earlier`` uses left."""

    use: Use
    earlier: int
    before: RatingState
    cost_micros: int
    steps: tuple[Step, ...]


def carry(state: RatingState, last_version: str | None, version: TariffVersion, *, session: bool) -> RatingState:
    """The state in which the next use of a period is rated, from the one that the use before left.

    ``last_version``: the version by which that use was rated; ``None`` where there is none.
    """
    if last_version is not None and last_version != version.version_id:
        return state.next_version()
    return state.next_session() if session else state


def rate_next(state: RatingState, last: Use | None, use: Use, steps: list[Step] | None = None) -> Rated:
    """Rate ``use``, which follows ``last`` in its period. Raises :class:`charging.rating.RatingError`."""
    before = carry(state, last.version.version_id if last else None, use.version, session=use.session)
    return rate_usage(use.version, use.quantity, before, at=use.at, destination=use.destination, steps=steps)


def costs(uses: Sequence[Use]) -> list[int]:
    """Micros that each use of a period costs, in the order of the uses. Raises ``RatingError``."""
    state = RatingState()
    last: Use | None = None
    result = []
    for use in uses:
        rated = rate_next(state, last, use)
        state, last = rated.state, use
        result.append(rated.cost_micros)
    return result


def explain(uses: Sequence[Use]) -> Explanation:
    """How the cost of the last of ``uses`` came about; they are all of one agreement and period, in order.

    Raises ``ValueError`` for none and :class:`charging.rating.RatingError` for what the tariff cannot rate.
    """
    if not uses:
        raise ValueError("there is no use to explain")
    state = RatingState()
    last: Use | None = None
    for use in uses[:-1]:
        state, last = rate_next(state, last, use).state, use
    use = uses[-1]
    before = carry(state, last.version.version_id if last else None, use.version, session=use.session)
    steps: list[Step] = []
    rated = rate_next(state, last, use, steps)
    return Explanation(use, len(uses) - 1, before, rated.cost_micros, tuple(steps))
