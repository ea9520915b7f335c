"""``python -m operator_server`` is ``tollgate``.

A server's processes start this way: they load what serves and none of the other commands, which takes half the time.
"""

import sys

if sys.argv[1:2] == ["serve"]:
    import typer

    from operator_server.cli.serve import serve

    server = typer.Typer(add_completion=False)
    server.callback()(lambda: None)
    server.command("serve")(serve)
    server(prog_name="tollgate")
else:
    from operator_server.cli.main import main

    main()
