"""How do frames reach one peer? Sessions, records, paths: engines and the fast gear."""
