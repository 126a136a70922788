"""What commands do: recipes, sweeps and stages -> runs, models and reports on disk, which outlive a kill."""
