"""Study asks: a question becomes arms, arms become trials, trials are run once and recorded."""
