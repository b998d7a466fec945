"""Results on disk: an SQLite database beside a folder of artifacts."""

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, ColumnElement, String, create_engine, delete, event, func, select, type_coerce, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from compression.experiments.graphs import seed_graphs
from compression.experiments.pairing import CORRECT, Scores, scores_from_dict
from compression.experiments.results import ExperimentResult, plain_model, result_from_dict
from compression.experiments.timings import Timings


class _Base(DeclarativeBase):
    pass


class _ResultRow(_Base):
    __tablename__ = "results"
    key: Mapped[str] = mapped_column(String, primary_key=True)
    model: Mapped[str] = mapped_column(String, index=True)
    dataset: Mapped[str] = mapped_column(String, index=True)
    created: Mapped[str] = mapped_column(String)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class _PartRow(_Base):
    __tablename__ = "parts"
    key: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String, primary_key=True)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class _JobRow(_Base):
    __tablename__ = "jobs"
    key: Mapped[str] = mapped_column(String, primary_key=True)
    state: Mapped[str] = mapped_column(String)
    fraction: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(String, default="")
    error: Mapped[str | None] = mapped_column(String, default=None)


def _configure(connection: Any, record: object) -> None:
    del record
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


class ResultStore:
    """Results, their measured parts, running jobs and artifact files below one folder.

    Several processes may use the same folder at once.

    Results are read with their latencies on one clock, see `compression.experiments.clock`.

    Args:
        root: The folder; made if missing.

    Attributes:
        timings: The stored timings.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._engine: Engine = create_engine(f"sqlite:///{root / 'results.db'}")
        event.listen(self._engine, "connect", _configure)
        _Base.metadata.create_all(self._engine)
        self.timings = Timings(self._engine)
        self._read: dict[str, tuple[str, ExperimentResult]] = {}

    def artifact_dir(self, key: str) -> Path:
        """Folder of one artifact's files; made if missing."""
        path = self.root / "artifacts" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def cache_dir(self) -> Path:
        """Folder for statistics and exported graphs; made if missing."""
        path = self.root / "cache"
        path.mkdir(parents=True, exist_ok=True)
        seed_graphs(path)
        return path

    def put_result(self, result: ExperimentResult) -> None:
        """Insert or replace a result."""
        values = {
            "key": result.key, "model": plain_model(result.recipe["model"]), "dataset": str(result.recipe["dataset"]),
            "created": result.created, "data": result.to_dict(),
        }
        self._upsert(_ResultRow, values, ("key",))

    def get_result(self, key: str) -> ExperimentResult | None:
        """The stored result, or None."""
        found = self.unresolved([key])
        return self.timings.resolve(found)[0] if found else None

    def unresolved(self, keys: Sequence[str]) -> list[ExperimentResult]:
        """Those stored results that there are, with the latencies that they were stored with; see `timings`."""
        if not keys:
            return []
        query = select(_ResultRow.key, type_coerce(_ResultRow.data, String)).where(_ResultRow.key.in_(keys))
        with Session(self._engine) as session:
            return [self._result_of(key, own) for key, own in session.execute(query)]

    def results(self, model: str | None = None, dataset: str | None = None) -> list[ExperimentResult]:
        """All stored results, oldest first, optionally of one model or dataset."""
        text = type_coerce(_ResultRow.data, String)
        query = select(_ResultRow.key, text).order_by(_ResultRow.created, _ResultRow.key)
        if model is not None:
            query = query.where(_ResultRow.model == model)
        if dataset is not None:
            query = query.where(_ResultRow.dataset == dataset)
        with Session(self._engine) as session:
            found = [self._result_of(key, own) for key, own in session.execute(query)]
        return self.timings.resolve(found)

    def _result_of(self, key: str, text: str) -> ExperimentResult:
        """A stored result, made anew only if its row has changed: pages ask for all of them at each drawing."""
        known = self._read.get(key)
        if known is None or known[0] != text:
            known = self._read[key] = text, result_from_dict(json.loads(text))
        return known[1]

    def baselines(self) -> list[ExperimentResult]:
        """Results of untouched models on whole test splits, oldest first; of each the last one."""
        steps, samples = (func.json_extract(_ResultRow.data, path) for path in ("$.recipe.steps", "$.recipe.n_samples"))
        query = select(_ResultRow).where(steps == "[]", samples.is_(None)).order_by(_ResultRow.created, _ResultRow.key)
        with Session(self._engine) as session:
            newest = {(row.model, row.dataset): row for row in session.scalars(query)}
            found = [result_from_dict(row.data) for row in newest.values()]
        return self.timings.resolve(found)

    def stamp(self) -> tuple[int, str, int]:
        """Number of results, time of the last one and number of the last timing: it changes with every one of them."""
        with Session(self._engine) as session:
            count, last = session.execute(select(func.count(), func.max(_ResultRow.created))).one()
        return int(count), str(last), max(self.timings.revisions().values(), default=0)

    def scores(self, keys: Iterable[str]) -> dict[str, Scores]:
        """Which predictions of artifacts were right, by key, as far as it is stored."""
        query = select(_PartRow.key, _PartRow.data).where(_PartRow.kind == CORRECT, _PartRow.key.in_(list(keys)))
        with Session(self._engine) as session:
            return {key: scores_from_dict(data) for key, data in session.execute(query)}

    def put_part(self, key: str, kind: str, data: dict[str, Any]) -> None:
        """Insert or replace one measured part ("artifact", "accuracy", "latency", ...)."""
        plain = json.loads(json.dumps(data))
        self._upsert(_PartRow, {"key": key, "kind": kind, "data": plain}, ("key", "kind"))

    def get_part(self, key: str, kind: str) -> dict[str, Any] | None:
        """One measured part, or None."""
        with Session(self._engine) as session:
            row = session.get(_PartRow, (key, kind))
            return None if row is None else dict(row.data)

    def parts(self, key: str) -> dict[str, dict[str, Any]]:
        """All parts of a key by kind."""
        query = select(_PartRow).where(_PartRow.key == key)
        with Session(self._engine) as session:
            return {row.kind: dict(row.data) for row in session.scalars(query)}

    def drop_parts(self, key: str, *kinds: str) -> None:
        """Delete some parts of a key; those that are not there are no error."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_PartRow).where(_PartRow.key == key, _PartRow.kind.in_(kinds)))

    def put_job(self, key: str, state: str, fraction: float = 0.0, message: str = "", error: str | None = None) -> None:
        """Set a job's state; readers in other processes see it at once."""
        values = {"key": key, "state": state, "fraction": fraction, "message": message, "error": error}
        self._upsert(_JobRow, values, ("key",))

    def begin_job(self, key: str) -> bool:
        """Set a queued job running; False when it is in another state: it may have been cancelled meanwhile."""
        statement = update(_JobRow).where(_JobRow.key == key, _JobRow.state == "queued")
        with Session(self._engine) as session, session.begin():
            begun = session.execute(statement.values(state="running", fraction=0.0, message="starting", error=None))
            return bool(begun.rowcount)

    def move_job(
        self, key: str, state: str, fraction: float = 0.0, message: str = "", error: str | None = None
    ) -> None:
        """The same as `put_job`, but one that has been cancelled stays so: looked at and set in one step."""
        values = {"key": key, "state": state, "fraction": fraction, "message": message, "error": error}
        self._upsert(_JobRow, values, ("key",), _JobRow.state != "cancelled")

    def advance_job(self, key: str, fraction: float, message: str) -> bool:
        """Update a running job's progress; False when it has been cancelled meanwhile."""
        with Session(self._engine) as session, session.begin():
            row = session.get(_JobRow, key)
            if row is not None and row.state == "cancelled":
                return False
            if row is not None:
                row.fraction, row.message = fraction, message
            return True

    def jobs(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """States of the named jobs that exist."""
        wanted = list(keys)
        with Session(self._engine) as session:
            rows = session.scalars(select(_JobRow).where(_JobRow.key.in_(wanted)))
            fields = ("state", "fraction", "message", "error")
            return {row.key: {name: getattr(row, name) for name in fields} for row in rows}

    def clear_unfinished_jobs(self) -> None:
        """Forget jobs of a server that has stopped; finished results stay."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_JobRow).where(_JobRow.state.in_(("queued", "running"))))

    def remove(self, key: str) -> None:
        """Delete a result, its parts and its files."""
        with Session(self._engine) as session, session.begin():
            for table in (_ResultRow, _PartRow, _JobRow):
                session.execute(delete(table).where(table.key == key))
        shutil.rmtree(self.root / "artifacts" / key, ignore_errors=True)

    def clear(self) -> None:
        """Forget all results and their parts, and jobs that have ended; files are left to the caller."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_JobRow).where(_JobRow.state.not_in(("queued", "running"))))
            for table in (_ResultRow, _PartRow):
                session.execute(delete(table))
        self.timings.clear()

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def _upsert(
        self, table: type[_Base], values: dict[str, Any], primary: tuple[str, ...],
        where: ColumnElement[bool] | None = None,
    ) -> None:
        statement = insert(table).values(**values)
        rest = {name: value for name, value in values.items() if name not in primary}
        statement = statement.on_conflict_do_update(index_elements=list(primary), set_=rest, where=where)
        with Session(self._engine) as session, session.begin():
            session.execute(statement)


def now() -> str:
    """Current time in ISO form, UTC, microseconds."""
    return datetime.now(UTC).isoformat()
