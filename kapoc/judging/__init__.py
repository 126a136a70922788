"""Two or more runs -> comparison, verdict, leaderboard, retention, without torch or lm-eval."""
