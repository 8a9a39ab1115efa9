"""The command line: one small module for each command; heavy imports only where they are used."""
