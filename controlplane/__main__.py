"""`python -m controlplane`: the command line."""

from controlplane.cli.app import main

main()
