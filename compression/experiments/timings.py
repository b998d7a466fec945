"""Stored timings: a table of pairs by clock, and the clocks read from it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Engine, Index, String, delete, func, inspect, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from compression.experiments.clock import Clock, timing_of

if TYPE_CHECKING:
    from compression.experiments.results import ExperimentResult

_LATENCIES = (
    "latency_ms_p50", "latency_ms_p95", "latency_low", "latency_high", "speedup", "speedup_low", "speedup_high",
    "cost_per_million",
)


class _Base(DeclarativeBase):
    pass


class _TimingRow(_Base):
    __tablename__ = "timings"
    __table_args__ = (Index("timings_by_revision", "clock", "revision"),)
    clock: Mapped[str] = mapped_column(String, primary_key=True)
    structure: Mapped[str] = mapped_column(String, primary_key=True)
    revision: Mapped[int]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class Timings:
    """The timings of one store. Clocks are kept in memory until a timing is added to them, in whatever process.

    Args:
        engine: The store's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clocks: dict[str, tuple[int, Clock]] = {}
        self._resolved: dict[str, tuple[ExperimentResult, Clock, ExperimentResult]] = {}
        if not inspect(engine).has_table(_TimingRow.__tablename__):
            _Base.metadata.create_all(engine)
            self._forget_earlier()

    def _forget_earlier(self) -> None:
        """Take the latencies out of results of versions that shared timings between models of other input sizes."""
        nothing = ", ".join(f"'$.{who}.{name}', NULL" for who in ("figures", "baseline") for name in _LATENCIES)
        with self._engine.begin() as connection:
            if inspect(connection).has_table("results"):
                connection.execute(text(f"UPDATE results SET data = json_set(data, {nothing})"))

    def put(self, clock: str, structure: str, data: dict[str, Any]) -> None:
        """Insert or replace the timing of a structure against a clock's baseline."""
        with Session(self._engine) as session, session.begin():
            newest = select(func.coalesce(func.max(_TimingRow.revision), 0) + 1).scalar_subquery()
            statement = insert(_TimingRow).values(clock=clock, structure=structure, revision=newest, data=data)
            changed = {"revision": newest, "data": data}
            session.execute(statement.on_conflict_do_update(index_elements=["clock", "structure"], set_=changed))

    def get(self, clock: str, structure: str) -> dict[str, Any] | None:
        """A stored timing, or None."""
        with Session(self._engine) as session:
            row = session.get(_TimingRow, (clock, structure))
            return None if row is None else dict(row.data)

    def revisions(self) -> dict[str, int]:
        """Number of the last change per clock."""
        query = select(_TimingRow.clock, func.max(_TimingRow.revision)).group_by(_TimingRow.clock)
        with Session(self._engine) as session:
            return dict(session.execute(query).all())  # type: ignore[arg-type]

    def clock(self, name: str, revision: int | None = None) -> Clock:
        """A clock as of now.

        Args:
            name: Of the clock.
            revision: Its last change, where the caller knows it; it then costs no query unless that is news.
        """
        if revision is None:
            revision = self.revisions().get(name, 0)
        known = self._clocks.get(name)
        if known is None or known[0] != revision:
            query = select(_TimingRow.structure, _TimingRow.data).where(_TimingRow.clock == name)
            with Session(self._engine) as session:
                found = {structure: timing_of(data) for structure, data in session.execute(query)}
            known = self._clocks[name] = revision, Clock(found)
        return known[1]

    def clocks(self, names: Iterable[str]) -> dict[str, Clock]:
        """Clocks as of now, by name, with one query for what has changed."""
        revisions = self.revisions()
        return {name: self.clock(name, revisions.get(name, 0)) for name in set(names)}

    def resolve(self, results: Sequence["ExperimentResult"]) -> list["ExperimentResult"]:
        """Results with their latencies on their clocks as of now: one query, and nothing anew that is as before."""
        revisions = self.revisions() if any(result.clock for result in results) else {}
        return [self._on_clock(own, revisions.get(own.clock, 0)) if own.clock else own for own in results]

    def _on_clock(self, result: "ExperimentResult", revision: int) -> "ExperimentResult":
        clock = self.clock(result.clock, revision)
        known = self._resolved.get(result.key)
        if known is None or known[0] is not result or known[1] is not clock:
            known = self._resolved[result.key] = result, clock, clock.resolve(result)
        return known[2]

    def clear(self) -> None:
        """Forget all timings."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_TimingRow))
        self._resolved.clear()
