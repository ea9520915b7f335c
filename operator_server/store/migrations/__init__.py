"""Migrations of the schema, one file a step; Alembic runs them in their order."""
