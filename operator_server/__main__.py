"""``python -m operator_server`` is ``tollgate``."""

from operator_server.cli.main import main

main()
