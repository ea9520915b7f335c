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

    ``session``: it is a session of its own, such as a call; otherwise it goes on with the session before. ``resumes``:
    it goes on with the session that the use of this reference began, whatever came between.
    """

    reference: str
    version: TariffVersion
    quantity: int
    at: datetime
    destination: str | None = None
    session: bool = False
    resumes: str = ""


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


class Course:
    """The uses of a period rated one after another. ``state`` is the one that the last use left."""

    def __init__(self, uses: Sequence[Use] = ()) -> None:
        self.state = RatingState()
        self._last: Use | None = None
        self._resumed = {use.resumes for use in uses if use.resumes}
        self._sessions: dict[str, tuple[str, RatingState]] = {}

    def before(self, use: Use) -> RatingState:
        """The state in which a use is rated."""
        version = use.version.version_id
        carried = carry(
            self.state, self._last.version.version_id if self._last else None, use.version, session=use.session
        )
        began, session = self._sessions.get(use.resumes, ("", carried)) if use.resumes else ("", carried)
        return carried.resumed(session) if began == version else carried

    def rate(self, use: Use, steps: list[Step] | None = None) -> Rated:
        """Rate the next use. Raises :class:`charging.rating.RatingError`."""
        before = self.before(use)
        rated = rate_usage(use.version, use.quantity, before, at=use.at, destination=use.destination, steps=steps)
        self.state, self._last = rated.state, use
        began = use.resumes or use.reference
        if began in self._resumed:
            self._sessions[began] = use.version.version_id, rated.state
        return rated


def costs(uses: Sequence[Use]) -> list[int]:
    """Micros that each use of a period costs, in the order of the uses. Raises ``RatingError``."""
    course = Course(uses)
    return [course.rate(use).cost_micros for use in uses]


def explain(uses: Sequence[Use]) -> Explanation:
    """How the cost of the last of ``uses`` came about; they are all of one agreement and period, in order.

    Raises ``ValueError`` for none and :class:`charging.rating.RatingError` for what the tariff cannot rate.
    """
    if not uses:
        raise ValueError("there is no use to explain")
    course = Course(uses)
    for use in uses[:-1]:
        course.rate(use)
    use = uses[-1]
    before, steps = course.before(use), list[Step]()
    rated = course.rate(use, steps)
    return Explanation(use, len(uses) - 1, before, rated.cost_micros, tuple(steps))
