"""What the record says: tables, intervals and figures, without torch."""
