"""Two or more runs -> comparison, verdict, leaderboard, retention. Pure, and no model is imported."""
