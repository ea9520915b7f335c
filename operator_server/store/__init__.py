"""The database: schema, engines, the grouped writer, the feed, migrations."""
