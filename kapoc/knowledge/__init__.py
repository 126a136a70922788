"""What a user writes of facts: the records, the files they stand in, and how an answer to a probe is graded."""
