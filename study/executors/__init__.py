"""Where trials run: an executor takes jobs (submit), reports events (poll) and stops (cancel)."""
