"""Many cells: in turn, in processes of their own, through Hydra's launchers, or in a search."""
