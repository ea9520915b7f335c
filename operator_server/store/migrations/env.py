"""Alembic's environment: the house's own metadata and engine."""

from __future__ import annotations

from alembic import context

from operator_server.store.engine import open_engine, writing
from operator_server.store.schema import metadata


def run() -> None:
    """Run the migrations on the database whose URL the configuration carries."""
    engine = writing(open_engine(context.config.attributes["url"]))
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
